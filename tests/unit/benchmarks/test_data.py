"""The data rows measure what they say: real calls on files that differ from round to round."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import data


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*.bin")}


def test_touching_changes_ten_files(tmp_path: Path) -> None:
    folder = data.small(tmp_path, 1, 25, 30)
    before = contents(folder)
    data.touch(folder, 1, 30)
    after = contents(folder)
    assert len(before) == 25
    assert sum(before[path] != after[path] for path in before) == data.TOUCHED


def test_large_files_have_no_two_blocks_alike(tmp_path: Path) -> None:
    size = 3 * data.BLOCK + 5
    content = data.large(tmp_path, 1, size).read_bytes()
    assert len(content) == size
    blocks = {content[at : at + data.BLOCK] for at in range(0, size, data.BLOCK)}
    assert len(blocks) == 4
    assert data.large(tmp_path, 2, size).read_bytes() != content


def test_our_calls_commit_and_check_out(tmp_path: Path) -> None:
    source = data.small(tmp_path, 1, 3, 30)
    home = {"CHANDLERY_HOME": str(tmp_path / "home")}
    commit = data.once(sys.executable, "ours", "commit", str(source), folder=data.ROOT, **home)
    checkout = data.once(sys.executable, "ours", "checkout", str(tmp_path / "out"), folder=data.ROOT, **home)
    assert 0 < commit["inside"] < commit["whole"]
    assert sorted(contents(tmp_path / "out").values()) == sorted(contents(source).values())
    assert data.both(commit, checkout)["both"] == commit["whole"] + checkout["whole"]
