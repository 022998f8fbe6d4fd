"""Order and content of listings, walks and inspections."""

from __future__ import annotations

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import file, paths

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


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", ["/a-", "/a.x", "/a/", "/b", "/c/"]),
        ("", ["/a-", "/a.x", "/a/", "/b", "/c/"]),
        ("/a", ["/a/b/", "/a/f"]),
        ("/a/", ["/a/b/", "/a/f"]),
        ("/a/f", ["/a/f"]),
        ("/a/f/", ["/a/f"]),
        ("/nothing", []),
    ],
)
def test_a_listing_is_in_byte_order(client, commit, path, expected):
    """ListFile tells direct children in byte order, `/` like any sign; a file itself; of nothing, nothing."""
    assert paths(client.pfs.list_file(file=file(commit, path))) == expected


def test_a_listing_tells_sizes_and_types(client, commit):
    """A listing tells type and size, of a directory the sum, and the commit; a file's datum is `default`."""
    infos = {info.file.path: info for info in client.pfs.list_file(file=file(commit, "/"))}
    assert infos["/a/"].file_type == pfs.FileType.DIR
    assert infos["/a/"].size_bytes == 5
    assert infos["/a.x"].file_type == pfs.FileType.FILE
    assert infos["/a.x"].size_bytes == 1
    assert infos["/a.x"].file.commit.id == commit.id
    assert infos["/a.x"].file.datum == "default"
    assert infos["/a.x"].committed.timestamp() > 0


def test_a_listing_by_pages(client, commit):
    """A listing is read in pages: so many, after a path, or so many backwards before a path."""

    def page(**arguments):
        return paths(client.pfs.list_file(file=file(commit, "/"), **arguments))

    assert page(number=2) == ["/a-", "/a.x"]
    assert page(number=2, pagination_marker=file(commit, "/a.x")) == ["/a/", "/b"]
    assert page(number=2, reverse=True) == ["/c/", "/b"]
    assert page(number=9, reverse=True, pagination_marker=file(commit, "/a/")) == ["/a.x", "/a-"]


def test_a_page_is_limited(client, commit, refused):
    """More than 100,000 at a time, or backwards without a number, is refused."""
    root = file(commit, "/")
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.list_file(file=root, number=100_001))
    assert "cannot return more than 100000 files at a time" in text
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.list_file(file=root, reverse=True))
    assert "number must be > 0" in text


def test_a_walk_tells_directories_before_their_content(client, commit):
    """WalkFile tells a directory, then what is below it."""
    assert paths(client.pfs.walk_file(file=file(commit, "/"))) == [
        "/", "/a-", "/a.x", "/a/", "/a/b/", "/a/b/f", "/a/f", "/b", "/c/", "/c/d/", "/c/d/e/", "/c/d/e/g.csv", "/c/h.csv",
    ]  # fmt: skip
    assert paths(client.pfs.walk_file(file=file(commit, "/c/d"))) == ["/c/d/", "/c/d/e/", "/c/d/e/g.csv"]
    assert paths(client.pfs.walk_file(file=file(commit, "/b"))) == ["/b"]


def test_a_walk_by_pages(client, commit):
    """A walk is read in pages as a listing is."""

    def page(**arguments):
        return paths(client.pfs.walk_file(file=file(commit, "/c"), **arguments))

    assert page(number=2) == ["/c/", "/c/d/"]
    assert page(number=2, pagination_marker=file(commit, "/c/d/")) == ["/c/d/e/", "/c/d/e/g.csv"]
    assert page(number=1, reverse=True) == ["/c/h.csv"]


def test_a_walk_of_nothing_is_not_found(client, commit, refused):
    """WalkFile of a path that is not there is NOT_FOUND."""
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.walk_file(file=file(commit, "/nothing")))


def test_an_empty_commit_has_no_root(client, master, put, refused):
    """In an empty commit listing, walk and glob give nothing, and `/` is NOT_FOUND."""
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
def test_inspection_finds_files_and_directories(client, commit, path, found):
    """InspectFile finds a file or directory with and without a slash at the end."""
    assert client.pfs.inspect_file(file=file(commit, path)).file.path == found


def test_inspection_of_nothing_is_not_found(client, commit, refused):
    """InspectFile of a path that is not there is NOT_FOUND; path_exists tells False."""
    text = refused(StatusCode.NOT_FOUND, lambda: client.pfs.inspect_file(file=file(commit, "/no")))
    assert "not found" in text
    assert not client.pfs.path_exists(file(commit, "/no"))


def test_a_file_in_a_missing_commit_is_not_found(client, commit, refused):
    """Files of a commit that is not there are NOT_FOUND."""
    missing = pfs.Commit(repo=commit.repo, id="0123456789ab4123456789abcdefabcd")
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.list_file(file=file(missing, "/")))
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.inspect_file(file=file(missing, "/a")))
