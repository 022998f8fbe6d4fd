"""The tasks of a run, on disk: one line for each change of a task, and a log for each.

A line is appended in one write. The last line of a task counts; a line that a kill tore is left out, as if it had not been.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from chandlery.files import write_text
from chandlery.processes import ProcessId

FILE = "tasks.jsonl"
UNDER_WAY = ("PENDING", "RUNNING")

Entry = dict[str, Any]


def read(folder: Path) -> dict[str, Entry]:
    """Return the last entry of each task of the run in `folder`, in the order in which they began.

    An entry has the task's `path` in the pipeline, its `state`, what it was given and what it made, and `process`.
    """
    found: dict[str, Entry] = {}
    for entry in _lines(folder / FILE):
        found[entry["path"]] = entry
    return found


def append(folder: Path, entry: Entry) -> None:
    """Append an entry; a torn line before it stays a line of its own."""
    descriptor = os.open(folder / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        torn = bool(size) and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (("\n" if torn else "") + json.dumps(entry, default=str) + "\n").encode())
    finally:
        os.close(descriptor)


def forget(folder: Path, *, keep: Collection[str] = ()) -> None:
    """Forget the tasks of a run, so that they run again, but for those whose state is in `keep`."""
    entries = [entry for entry in read(folder).values() if entry["state"] in keep]
    write_text(folder / FILE, "".join(json.dumps(entry) + "\n" for entry in entries))


def processes_of(folder: Path) -> list[ProcessId]:
    """Return the processes of tasks that had not ended when the last entry was written."""
    return [
        ProcessId(**entry["process"])
        for entry in read(folder).values()
        if entry.get("process") and entry["state"] in UNDER_WAY
    ]


def log_file(folder: Path, path: str) -> Path:
    """Return the log of the task at `path` of the run in `folder`."""
    return folder / "tasks" / path.replace("/", ".")[-200:] / "log.txt"


def _lines(path: Path) -> Iterator[Entry]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for line in data.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and "path" in entry and "state" in entry:
            yield entry
