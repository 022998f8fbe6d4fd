"""Checkouts: complete or absent, shared, verified, and safe against names of other tools."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs

from chandlery import data
from chandlery.data import checkouts
from chandlery.data.tar import TarReader
from chandlery.errors import DataError, NotFoundError
from tests.unit.data.conftest import contents


@pytest.fixture
def made(source: Path) -> data.Committed:
    return data.commit(str(source), "digits")


def count_downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    downloads: list[str] = []
    real = checkouts._download

    def download(*arguments: Any) -> data.Checkout:
        downloads.append(arguments[-1])
        return real(*arguments)

    monkeypatch.setattr(checkouts, "_download", download)
    return downloads


def test_a_commit_is_downloaded_once(
    made: data.Committed, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = count_downloads(monkeypatch)
    first = data.checkout("digits", "master")
    assert first == home / "artifacts" / "checkouts" / "digits" / made.commit
    assert data.checkout("digits", made.commit) == first
    assert downloads == [made.commit]


def test_many_at_once_share_one_download(made: data.Committed, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads = count_downloads(monkeypatch)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(data.checkout("digits", "master"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert downloads == [made.commit]


def damage(path: Path, content: bytes | None) -> None:
    path.chmod(0o644)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("content", [b"SALE", b"short", None], ids=["same size", "other size", "gone"])
def test_a_damaged_cache_is_fetched_again(made: data.Committed, source: Path, content: bytes | None) -> None:
    damage(data.checkout("digits", "master") / "100% off", content)
    assert contents(data.checkout("digits", "master")) == contents(source)


def test_a_file_that_was_only_touched_is_kept(made: data.Committed, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads = count_downloads(monkeypatch)
    os.utime(data.checkout("digits", "master") / "100% off", (1, 1))
    data.checkout("digits", "master")
    assert len(downloads) == 1


def test_a_stream_that_breaks_off_leaves_nothing(
    made: data.Committed, home: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(checkouts, "TarReader", lambda messages: TarReader([b"".join(messages)[:700]]))
        with pytest.raises(DataError):
            data.checkout("digits", "master")
    root = home / "artifacts" / "checkouts" / "digits"
    assert {path.name for path in root.iterdir()} == {f".{made.commit}.lock", f".{made.commit}.use"}
    assert contents(data.checkout("digits", "master")) == contents(source)


def test_leftovers_of_a_killed_download_are_removed(made: data.Committed, home: Path) -> None:
    root = home / "artifacts" / "checkouts" / "digits"
    (root / f".{made.commit}.partial-1").mkdir(parents=True)
    data.checkout("digits", "master")
    assert sorted(path.name for path in root.iterdir()) == sorted(
        [made.commit, f"{made.commit}.json", f".{made.commit}.lock", f".{made.commit}.use"]
    )


def test_linked_files_outlive_the_cache(made: data.Committed, source: Path, tmp_path: Path) -> None:
    found = data.fetch("digits", "master")
    target = tmp_path / "artifact"
    checkouts.link(found, target)
    assert (target / "empty").stat().st_ino == (found.folder / "empty").stat().st_ino
    checkouts.link(found, target)  # a retry
    shutil.rmtree(found.folder.parent)
    assert contents(target) == contents(source)


def test_without_hard_links_files_are_copied(
    made: data.Committed, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    found = data.fetch("digits", "master")
    checkouts.link(found, tmp_path / "artifact")
    assert contents(tmp_path / "artifact") == contents(source)


def put(client: Client, *paths: str) -> str:
    client.pfs.create_repo(repo=pfs.Repo(name="foreign"))
    with client.pfs.commit(branch=pfs.Branch.from_uri("foreign@master")) as commit:
        for path in paths:
            client.pfs.put_file_from_bytes(commit=commit, path=path, data=path.encode())
    return str(commit.id)


def test_names_of_other_tools_stay_and_stay_inside(client: Client) -> None:
    put(client, "/a%20b", "/..%2F..%2Fescape", "/%2E%2E/x")
    found = data.checkout("foreign", "master")
    assert sorted(contents(found)) == ["%2E%2E/x", "..%2F..%2Fescape", "a%20b"]


def test_names_that_would_fall_together_are_refused(client: Client) -> None:
    put(client, "/a%20b", "/a%2520b")
    with pytest.raises(DataError, match="a file of its own"):
        data.checkout("foreign", "master")


def test_a_missing_folder_names_what_is_there(made: data.Committed) -> None:
    with pytest.raises(NotFoundError) as caught:
        data.checkout("digits", "master", "/class b")
    assert "/class b/" in caught.value.message
    assert "/class a/" in caught.value.hint


def test_an_empty_commit_is_no_dataset(client: Client) -> None:
    put(client)
    with pytest.raises(DataError, match="holds no file"):
        data.checkout("foreign", "master")


def test_an_artifacts_bucket_keeps_checkouts_at_home(
    made: data.Committed, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANDLERY_ARTIFACTS", "s3://bucket/artifacts")
    assert data.checkout("digits", "master").is_relative_to(home / "artifacts")


def test_equal_datasets_have_equal_digests(made: data.Committed, source: Path) -> None:
    other = data.commit(str(source), "copies")
    assert data.fetch("digits", "master").content == data.fetch("copies", other.commit).content
    (source / "empty").write_bytes(b"x")
    data.commit(str(source), "digits")
    assert data.fetch("digits", "master").content != data.fetch("digits", "master^").content


def test_a_large_file_is_hashed_as_it_is(client: Client) -> None:
    client.pfs.create_repo(repo=pfs.Repo(name="large"))
    content = os.urandom((9 << 20) + 1)
    with client.pfs.commit(branch=pfs.Branch.from_uri("large@master")) as commit:
        client.pfs.put_file_from_bytes(commit=commit, path="/f", data=content)
    [file] = data.fetch("large", "master").files.values()
    assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_files_are_read_only_for_everybody_whatever_the_umask(made: data.Committed) -> None:
    before = os.umask(0o077)
    try:
        folder = data.checkout("digits", "master")
    finally:
        os.umask(before)
    assert (folder / "empty").stat().st_mode & 0o777 == 0o444
