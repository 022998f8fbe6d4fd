"""Committing a dataset: exact replacement, no commit for unchanged content, nothing on failure."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs

from chandlery import data
from chandlery.data import lease, uploads
from chandlery.data.sources import local
from chandlery.errors import ChandleryError, ConflictError, DataError, NotFoundError, UserError
from tests.unit.data.conftest import contents


def commits(client: Client, repo: str = "digits") -> list[pfs.CommitInfo]:
    return list(client.pfs.list_commit(repo=pfs.Repo(name=repo)))


def test_a_folder_comes_back_as_it_was(source: Path) -> None:
    made = data.commit(str(source), "digits")
    assert (made.changed, made.files, made.bytes) == (True, 4, 11)
    assert contents(data.checkout("digits", made.commit)) == contents(source)


def test_unchanged_content_makes_no_commit(client: Client, source: Path, tmp_path: Path) -> None:
    made = data.commit(str(source), "digits")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path, content in contents(source).items():
        (copy / path).parent.mkdir(exist_ok=True)
        (copy / path).write_bytes(content)
    again = data.commit(str(copy), "digits")
    assert (again.commit, again.changed) == (made.commit, False)
    assert (again.files, again.bytes, again.content) == (made.files, made.bytes, made.content)
    assert len(commits(client)) == 1


def test_force_makes_a_commit_all_the_same(client: Client, source: Path) -> None:
    first = data.commit(str(source), "digits")
    second = data.commit(str(source), "digits", force=True)
    assert second.changed
    assert [info.commit.id for info in commits(client)] == [second.commit, first.commit]


@pytest.mark.parametrize("force", [False, True])
def test_the_retry_of_a_step_finds_its_own_commit(
    client: Client, source: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    monkeypatch.setenv("CHANDLERY_RUN_ID", "run-7")
    first = data.commit(str(source), "digits", force=force)
    again = data.commit(str(source), "digits", force=force)
    assert again == first
    assert again.changed
    assert len(commits(client)) == 1


def test_content_that_another_tool_committed_counts_as_unchanged(client: Client, source: Path) -> None:
    client.pfs.create_repo(repo=pfs.Repo(name="digits"))
    branch = pfs.Branch.from_uri("digits@master")
    with client.pfs.commit(branch=branch, description="pachctl put file") as commit:
        for path, content in contents(source).items():
            client.pfs.put_file_from_bytes(commit=commit, path="/" + uploads.names.encode(path), data=content)
    made = data.commit(str(source), "digits")
    assert (made.commit, made.changed) == (commit.id, False)
    assert len(commits(client)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "empty").write_bytes(b"x"),
        lambda folder: (folder / "empty").unlink(),
        lambda folder: (folder / "empty").rename(folder / "still empty"),
        lambda folder: (folder / "class a" / "new").write_bytes(b""),
        lambda folder: (folder / "100% off").write_bytes(b"SALE"),
    ],
    ids=["grown", "removed", "renamed", "added", "same size"],
)
def test_every_change_is_seen_and_nothing_stale_stays(source: Path, change: Callable[[Path], Any]) -> None:
    first = data.commit(str(source), "digits")
    change(source)
    second = data.commit(str(source), "digits")
    assert second.changed
    assert second.commit != first.commit
    assert contents(data.checkout("digits", "master")) == contents(source)
    assert contents(data.checkout("digits", "master^")) == contents(data.checkout("digits", first.commit))


def test_a_folder_of_the_repo_is_replaced_and_the_rest_stays(source: Path, tmp_path: Path) -> None:
    data.commit(str(source), "digits", path="/one")
    data.commit(str(source / "class a"), "digits", path="two (2)/deep")
    single = tmp_path / "only.txt"
    single.write_bytes(b"!")
    last = data.commit(str(single), "digits", path="one")
    assert contents(data.checkout("digits", last.commit)) == {"one/only.txt": b"!"} | {
        f"two (2)/deep/{name}": content for name, content in contents(source / "class a").items()
    }
    assert contents(data.checkout("digits", "master", "/one/")) == {"only.txt": b"!"}
    assert contents(data.checkout("digits", "master", "/one/only.txt")) == {"only.txt": b"!"}
    assert contents(data.checkout("digits", "master", "two (2)")) == {
        f"deep/{name}": content for name, content in contents(source / "class a").items()
    }


def test_a_file_gives_way_to_a_folder_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"file")
    data.commit(str(tmp_path / "a"), "digits")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "y").write_bytes(b"inside")
    data.commit(str(tmp_path / "b"), "digits", path="/x")
    assert contents(data.checkout("digits", "master")) == {"x/y": b"inside"}


def test_the_commit_says_where_it_came_from(
    client: Client, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANDLERY_RUN_ID", "run-7")
    made = data.commit(str(source), "team/digits", "dev", message="scans of March")
    with data.connect() as own:
        repo = pfs.Repo(name="digits", project=pfs.Project(name="team"))
        info = own.pfs.inspect_commit(commit=pfs.Commit(repo=repo, id=made.commit))
    said = lease.fields(info.description)
    assert said["run_id"] == "run-7"
    assert said["data_repo"] == "team/digits"
    assert said["data_branch"] == "dev"
    assert said["message"] == "scans of March"
    assert said["content"] == made.content
    assert said["source"] == str(source)
    assert "writer" not in said


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("https://user:secret@host/f.csv?X-Sig=secret#x", "https://host/f.csv"),
        ("/data/a?b", "/data/a?b"),
        ("s3://bucket/a?b", "s3://bucket/a?b"),
    ],
)
def test_no_secret_of_an_address_is_written_down(address: str, public: str) -> None:
    assert uploads._public(address) == public


def at_read(monkeypatch: pytest.MonkeyPatch, number: int, effect: Callable[[Path], None]) -> None:
    """Let something happen when the n-th file is opened: 1 to 4 compare, 5 to 8 upload."""
    reads = 0
    real = local._read
    monkeypatch.setattr(local, "FRESH_NS", 10**18)  # nothing is taken as known, however slow the machine is

    def read(path: str, expected: tuple[int, int, int]) -> Any:
        nonlocal reads
        reads += 1
        if reads == number:
            effect(Path(path))
        yield from real(path, expected)

    monkeypatch.setattr(local, "_read", read)


def _raise(_: Path) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("number", "effect", "kind", "text"),
    [
        (6, lambda path: path.write_bytes(b"longer than before"), DataError, "changed while it was read"),
        (6, lambda path: path.unlink(), DataError, "No such file"),
        (4, lambda path: (path.parent / "zz").write_bytes(b"new"), DataError, "changed while it was read"),
        (6, _raise, OSError, "Input/output error"),
    ],
    ids=["rewritten", "removed", "file added", "bug"],
)
def test_a_source_that_changes_while_it_is_read_commits_nothing(
    client: Client,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    effect: Callable[[Path], None],
    kind: type[Exception],
    text: str,
) -> None:
    first = data.commit(str(source), "digits")
    (source / "class a" / "naïve+[2].csv").write_bytes(b"3,4\n")
    at_read(monkeypatch, number, effect)
    with pytest.raises(kind, match=text):
        data.commit(str(source), "digits")
    assert [info.commit.id for info in commits(client)] == [first.commit]


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        (("{tmp}/nothing", "digits"), NotFoundError, "no such file or folder"),
        (("{tmp}", "digits"), UserError, "holds no file"),
        (("", "digits"), UserError, "source is empty"),
        (("ftp://host/x", "digits"), UserError, "unknown scheme 'ftp'"),
        (("s3:///x", "digits"), UserError, "names no bucket"),
        (("https://host/", "digits"), UserError, "names no file"),
        (("{tmp}", "dig its"), UserError, "not a valid name"),
        (("{tmp}", "digits", "a/b"), UserError, "not a valid name"),
        (("{tmp}", "digits", "master", "/a/../b"), UserError, "cannot be stored"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_input_is_refused_in_two_lines_and_changes_nothing(
    client: Client, tmp_path: Path, arguments: tuple[str, ...], kind: type[ChandleryError], text: str
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(kind, match=text) as caught:
        data.commit(
            *(
                argument.format(tmp=tmp_path / "folder") if "{tmp}" in argument else argument
                for argument in arguments
            )
        )
    assert len(str(caught.value).splitlines()) == 2
    assert list(client.pfs.list_repo(type="user")) == []


def test_names_that_even_encoded_cannot_be_restored_are_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd:
        name, cheap_to_read = "odd", False

        def entries(self) -> Any:
            yield uploads.SourceFile("a/../b", 1, "v", lambda: iter([b"x"]))

    monkeypatch.setattr(uploads, "open_source", lambda _: Odd())
    with pytest.raises(UserError, match="cannot be stored"):
        data.commit("odd", "digits")
    assert list(client.pfs.list_repo(type="user")) == []


def test_links_are_followed_and_loops_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "folder").symlink_to(source / "class a")
    (tmp_path / "links" / "file").symlink_to(source / "100% off")
    data.commit(str(tmp_path / "links"), "digits")
    assert contents(data.checkout("digits", "master"))["file"] == b"sale"
    assert contents(data.checkout("digits", "master"))["folder/image (1).txt"] == b"one"
    (tmp_path / "links" / "loop").symlink_to(tmp_path / "links")
    with pytest.raises(UserError, match="leads back"):
        data.commit(str(tmp_path / "links"), "digits")


def test_things_that_are_not_files_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    with pytest.raises(UserError, match="not a regular file"):
        data.commit(str(folder), "digits")
    (folder / "pipe").unlink()
    (folder / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match="No such file"):
        data.commit(str(folder), "digits")


def test_a_branch_held_by_somebody_else_is_a_conflict(client: Client, source: Path) -> None:
    data.commit(str(source), "digits")
    theirs = client.pfs.start_commit(branch=pfs.Branch.from_uri("digits@master"), description="by hand")
    (source / "more").write_bytes(b"x")
    with pytest.raises(ConflictError, match="another process"):
        data.commit(str(source), "digits", timeout=0.2)
    client.pfs.finish_commit(commit=theirs)
    assert data.commit(str(source), "digits", timeout=5).changed


def test_entries_come_in_byte_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("a/x", "a-b", "a", "a.txt", "b"):
        path = tmp_path / ("dir" if name != "a" else "dir2") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
    paths = [entry.path for entry in local.LocalSource(tmp_path).entries()]
    assert paths == sorted(paths, key=os.fsencode)
    assert len(paths) == 5
