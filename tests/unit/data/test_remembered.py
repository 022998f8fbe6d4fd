"""Committing again reads and sends what changed and nothing else; whatever is remembered, content decides."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pachyderm_sdk.api import pfs

from chandlery import data
from chandlery.data import remembered, uploads
from chandlery.data.sources import local
from tests.unit.data.conftest import contents


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as old enough to have a stamp at once; ext4, tmpfs and APFS tell writes apart all the same."""
    monkeypatch.setattr(local, "FRESH_NS", 0)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that have been read, in order."""
    names: list[str] = []
    real = local._read

    def reading(path: str, expected: tuple[int, int, int]) -> Any:
        names.append(Path(path).name)
        yield from real(path, expected)

    monkeypatch.setattr(local, "_read", reading)
    return names


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been sent: `+/path` and `-/path`, in order."""
    messages: list[str] = []
    real = uploads._Requests._all

    def sending(self: uploads._Requests) -> Any:
        for request in real(self):
            group = request._group_current["body"]
            if group != "set_commit":
                messages.append("+-"[group == "delete_file"] + getattr(request, group).path)
            yield request

    monkeypatch.setattr(uploads._Requests, "_all", sending)
    return messages


def test_only_what_changed_is_read_and_sent(source: Path, read: list[str], sent: list[str]) -> None:
    data.commit(str(source), "digits", path="in/here")
    (source / "100% off").write_bytes(b"SALE")
    (source / "new").write_bytes(b"n")
    (source / "class a" / "image (1).txt").unlink()
    read.clear()
    sent.clear()
    made = data.commit(str(source), "digits", path="in/here")
    assert made.changed
    assert read == ["100% off", "new"]
    assert sent == [
        "-/in/here/100%25 off",
        "+/in/here/100%25 off",
        "+/in/here/new",
        "-/in/here/class a/image %281%29.txt",
    ]
    assert contents(data.checkout("digits", "master", "in/here")) == contents(source)
    assert made.content == data.commit(str(source), "elsewhere").content


def test_unchanged_files_are_not_read_at_all(source: Path, read: list[str]) -> None:
    made = data.commit(str(source), "digits")
    read.clear()
    assert data.commit(str(source), "digits").commit == made.commit
    assert read == []


def test_touched_files_with_the_same_content_make_no_commit(source: Path, read: list[str]) -> None:
    made = data.commit(str(source), "digits")
    read.clear()
    for path in source.rglob("*"):
        os.utime(path)
    again = data.commit(str(source), "digits")
    assert (again.commit, again.changed) == (made.commit, False)
    assert len(read) == 4
    read.clear()
    data.commit(str(source), "digits")
    assert read == [], "their new stamps are remembered"


def test_times_set_back_deceive_nobody(source: Path) -> None:
    data.commit(str(source), "digits")
    before = (source / "100% off").stat()
    (source / "100% off").write_bytes(b"SALE")
    os.utime(source / "100% off", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert data.commit(str(source), "digits").changed
    assert contents(data.checkout("digits", "master")) == contents(source)


def test_a_file_just_written_is_read_again(
    source: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another write within one step of the clock would not show.
    monkeypatch.setattr(local, "FRESH_NS", 10**18)
    data.commit(str(source), "digits")
    read.clear()
    data.commit(str(source), "digits")
    assert len(read) == 4


@pytest.mark.parametrize(
    "how", ["by another tool", "from another source", "with another path", "with an error"]
)
def test_on_a_parent_that_is_not_what_is_remembered_everything_is_sent(
    client: Any, source: Path, tmp_path: Path, sent: list[str], how: str
) -> None:
    data.commit(str(source), "digits")
    branch = pfs.Branch.from_uri("digits@master")
    if how == "by another tool":
        with client.pfs.commit(branch=branch, description="by hand") as commit:
            client.pfs.put_file_from_bytes(commit=commit, path="/stray", data=b"x")
    elif how == "from another source":
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "stray").write_bytes(b"x")
        data.commit(str(tmp_path / "other"), "digits")
    elif how == "with another path":
        data.commit(str(source), "digits", path="/stray")
    else:
        client.pfs.finish_commit(commit=client.pfs.start_commit(branch=branch), error="given up")
    (source / "new").write_bytes(b"n")
    sent.clear()
    data.commit(str(source), "digits")
    assert sent[0] == "-/"
    assert contents(data.checkout("digits", "master")) == contents(source)


@pytest.mark.parametrize("damage", ["gone", "no JSON", "another form", "another digest", "not writable"])
def test_what_is_remembered_may_be_lost_or_wrong(source: Path, home: Path, damage: str) -> None:
    data.commit(str(source), "digits")
    [place] = (home / "cache" / "sources").iterdir()
    document = json.loads(place.read_text())
    if damage == "gone":
        place.unlink()
    elif damage == "no JSON":
        place.write_text("{")
    elif damage == "another form":
        place.write_text("[]")
    elif damage == "another digest":
        document["files"][0][2] = "ab" * 32
        place.write_text(json.dumps(document))
    else:
        place.unlink()
        place.mkdir()
    (source / "new").write_bytes(b"n")
    data.commit(str(source), "digits")
    assert contents(data.checkout("digits", "master")) == contents(source)


def test_too_many_files_are_not_remembered(source: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (remembered, uploads):
        monkeypatch.setattr(module, "MOST_FILES", 3)
    data.commit(str(source), "digits")
    (source / "new").write_bytes(b"n")
    data.commit(str(source), "digits")
    assert not (home / "cache").exists()
    assert contents(data.checkout("digits", "master")) == contents(source)
