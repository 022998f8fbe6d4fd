"""Files written in one step: whole or absent, with many writers, and after a failure."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chandlery.files import write_json, write_text
from chandlery.processes.locks import is_locked

LENGTH = 200_000


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_reader_sees_one_writers_whole_text_or_no_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    wrong: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                text = path.read_text(encoding="utf-8")
            except FileNotFoundError:
                continue
            if len(text) != LENGTH or len(set(text)) != 1:
                wrong.append(f"{len(text)} characters of {sorted(set(text))}")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: write_text(path, "abcdefgh"[number % 8] * LENGTH), range(160)))
    finally:
        done.set()
        reader.join()
    assert not wrong
    assert names(tmp_path) == ["state.json"]


@pytest.mark.parametrize(
    ("write", "error"),
    [
        pytest.param(lambda path: write_text(path, "half \ud800"), UnicodeEncodeError, id="not UTF-8"),
        pytest.param(lambda path: write_json(path, {"half": object()}), TypeError, id="not JSON"),
    ],
)
def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, write: Callable[[Path], None], error: type[Exception]
) -> None:
    path = tmp_path / "state.json"
    write_text(path, "old")
    with pytest.raises(error):
        write(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["state.json"]


def test_a_target_that_cannot_be_replaced_leaves_no_partial(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_text(tmp_path / "taken", "new")
    assert names(tmp_path) == ["taken"]


def test_what_is_being_written_matches_no_pattern_that_we_scan_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    replace = os.replace

    def look(source: Path, target: Path) -> None:
        seen.append(Path(source).name)
        for pattern in ("*.json", "run-1/*.json", "*/run.json", "**/*.json"):
            assert not list(tmp_path.glob(pattern))
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    write_json(tmp_path / "run-1" / "run.json", {})
    assert len(seen) == 1
    assert seen[0].startswith(".run.json.partial-")


def test_json_is_indented_as_asked_in_a_folder_that_was_missing(tmp_path: Path) -> None:
    document = {"b": [1], "a": None}
    write_json(tmp_path / "deep" / "er" / "two.json", document)
    write_json(tmp_path / "line.json", document, indent=None)
    assert (tmp_path / "deep" / "er" / "two.json").read_text() == json.dumps(document, indent=2)
    assert (tmp_path / "line.json").read_text() == '{"b": [1], "a": null}'


def test_a_lock_is_held_as_long_as_its_process_lives(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    path.touch()
    assert not is_locked(path)

    program = (
        f"import fcntl; f = open({str(path)!r}); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline()
        assert is_locked(path)
        holder.kill()
    assert not is_locked(path)


def test_asking_leaves_the_lock_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    assert not is_locked(path)
    with open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
