"""Order and content of listings, globs and diffs."""

from __future__ import annotations

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

TREE = {
    "/a.x": b"1",
    "/a/b/f": b"22",
    "/a/f": b"333",
    "/a-": b"4",
    "/b": b"",
    "/c/d/e/g.csv": b"55",
    "/c/h.csv": b"6",
}


@pytest.fixture
def commit(master, put):
    return put(master, TREE)


def paths(infos):
    return [info.file.path for info in infos]


def file(commit, path):
    return pfs.File(commit=commit, path=path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", ["/a-", "/a.x", "/a/", "/b", "/c/"]),
        ("", ["/a-", "/a.x", "/a/", "/b", "/c/"]),
        ("/a", ["/a/b/", "/a/f"]),
        ("/a/", ["/a/b/", "/a/f"]),
        ("/a/f", ["/a/f"]),
        ("/nothing", []),
    ],
)
def test_list(client, commit, path, expected):
    assert paths(client.pfs.list_file(file=file(commit, path))) == expected


def test_list_tells_sizes_and_types(client, commit):
    infos = {info.file.path: info for info in client.pfs.list_file(file=file(commit, "/"))}
    assert infos["/a/"].file_type == pfs.FileType.DIR
    assert infos["/a/"].size_bytes == 5
    assert infos["/a.x"].file_type == pfs.FileType.FILE
    assert infos["/a.x"].size_bytes == 1
    assert infos["/a.x"].file.commit.id == commit.id
    assert infos["/a.x"].committed.timestamp() > 0


def test_list_by_pages(client, commit):
    def page(**arguments):
        return paths(client.pfs.list_file(file=file(commit, "/"), **arguments))

    assert page(number=2) == ["/a-", "/a.x"]
    assert page(number=2, pagination_marker=file(commit, "/a.x")) == ["/a/", "/b"]
    assert page(number=2, reverse=True) == ["/c/", "/b"]
    assert page(number=9, reverse=True, pagination_marker=file(commit, "/a/")) == ["/a.x", "/a-"]


def test_too_many_at_a_time(client, commit, refused):
    refused(StatusCode.UNKNOWN, lambda: client.pfs.list_file(file=file(commit, "/"), number=100_001))


def test_walk(client, commit, refused):
    assert paths(client.pfs.walk_file(file=file(commit, "/"))) == [
        "/", "/a-", "/a.x", "/a/", "/a/b/", "/a/b/f", "/a/f", "/b", "/c/", "/c/d/", "/c/d/e/", "/c/d/e/g.csv", "/c/h.csv",
    ]  # fmt: skip
    assert paths(client.pfs.walk_file(file=file(commit, "/c/d"))) == ["/c/d/", "/c/d/e/", "/c/d/e/g.csv"]
    assert paths(client.pfs.walk_file(file=file(commit, "/b"))) == ["/b"]
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.walk_file(file=file(commit, "/nothing")))


def test_empty_commit(client, master, put, refused):
    empty = put(master, {})
    assert paths(client.pfs.list_file(file=file(empty, "/"))) == []
    assert paths(client.pfs.walk_file(file=file(empty, "/"))) == []
    assert paths(client.pfs.glob_file(commit=empty, pattern="/**")) == []
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.inspect_file(file=file(empty, "/")))
    assert not client.pfs.path_exists(file(empty, "/"))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/a", "/a/"),
        ("/a/", "/a/"),
        ("/a/f", "/a/f"),
        ("/a/f/", "/a/f"),
        ("/", "/"),
        ("/c/d", "/c/d/"),
        ("b", "/b"),
    ],
)
def test_inspect(client, commit, path, found):
    assert client.pfs.inspect_file(file=file(commit, path)).file.path == found


def test_inspect_missing(client, commit, refused):
    assert "not found" in refused(
        StatusCode.NOT_FOUND, lambda: client.pfs.inspect_file(file=file(commit, "/no"))
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/*", ["/a-", "/a.x", "/a/", "/b", "/c/"]),
        ("*", ["/a-", "/a.x", "/a/", "/b", "/c/"]),
        ("/a*", ["/a-", "/a.x", "/a/"]),
        ("/?", ["/a/", "/b", "/c/"]),
        ("/a/*", ["/a/b/", "/a/f"]),
        ("/**.csv", ["/c/d/e/g.csv", "/c/h.csv"]),
        ("/c/**", ["/c/d/", "/c/d/e/", "/c/d/e/g.csv", "/c/h.csv"]),
        ("/{b,a/f}", ["/a/f", "/b"]),
        ("/[ab]", ["/a/", "/b"]),
        ("/[!ab]", ["/c/"]),
        ("/@(b|c)", ["/b", "/c/"]),
        ("/", ["/"]),
        ("/a", ["/a/"]),
        ("/nothing*", []),
    ],
)
def test_glob(client, commit, pattern, expected):
    assert paths(client.pfs.glob_file(commit=commit, pattern=pattern)) == expected


def test_malformed_glob(client, commit, refused):
    refused(StatusCode.UNKNOWN, lambda: client.pfs.glob_file(commit=commit, pattern="/{a,b"))


def diff(client, *arguments, **options):
    found = []
    for answer in client.pfs.diff_file(*arguments, **options):
        found.append((answer.new_file.file.path, answer.old_file.file.path))
    return found


def test_diff_against_the_parent(client, master, commit, put):
    after = put(master, {"/a/f": b"changed", "/new": b"1"}, delete=("/b",))
    assert diff(client, new_file=file(after, "/")) == [
        ("/", "/"),
        ("/a/", "/a/"),
        ("/a/f", "/a/f"),
        ("", "/b"),
        ("/new", ""),
    ]
    assert diff(client, new_file=file(after, "/"), shallow=True) == [("/a/", "/a/"), ("", "/b"), ("/new", "")]
    assert diff(client, new_file=file(after, "/c")) == []


def test_diff_of_two_commits(client, master, commit, put):
    put(master, {"/x": b"1"})
    same = put(master, {}, delete=("/x",))
    assert diff(client, new_file=file(same, "/"), old_file=file(commit, "/")) == []
    assert diff(client, new_file=file(commit, "/b")) == [("/b", "")]


def test_repos_are_listed(client, new_repo):
    made = {new_repo().name, new_repo().name}
    listed = {info.repo.name for info in client.pfs.list_repo()}
    assert made <= listed
