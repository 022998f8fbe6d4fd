"""What a run has done so far, kept so that it survives the engine: one line for each change of a task.

A line is appended in one write. The last line of a task counts; a line that a kill tore is left out, as if it had not been.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chandlery.embedded.pipelines.execution import ENDED, FAILED, GOOD, Execution
from chandlery.processes import ProcessId
from chandlery.redaction import redacted, redacted_values

FILE = "tasks.jsonl"


class Journal:
    """The tasks of one run, on disk."""

    def __init__(self, folder: Path) -> None:
        """Open the journal of the run in `folder`, which may have none yet."""
        self._path = folder / FILE
        self._known = read(folder)
        self._torn = _is_torn(self._path)

    def ended(self, path: str) -> dict[str, Any] | None:
        """Return the entry of a task that an earlier engine brought to its end, so that it is not done again."""
        entry = self._known.get(path)
        return entry if entry is not None and entry["state"] in (*GOOD, FAILED) else None

    def write(self, execution: Execution, process: ProcessId | None = None, *, work: bool = True) -> None:
        """Append the state of a task.

        Args:
            execution: the task.
            process: the process that does its work.
            work: whether it does work itself, and is no DAG.
        """
        entry = {
            "path": execution.path,
            "name": execution.name,
            "dag": not work,
            "turns": None if execution.turns is None else len(execution.turns),
            "state": execution.state,
            "inputs": redacted_values(execution.parameters),
            "input_artifacts": execution.artifacts,
            "outputs": execution.outputs,
            "artifacts": execution.made,
            "error": redacted(execution.error),
            "hint": redacted(execution.hint),
            "exit_code": execution.exit_code,
            "started": execution.started,
            "ended": execution.ended,
            "attempts": execution.attempts,
            "process": None if process is None else vars(process),
        }
        line = ("\n" if self._torn else "") + json.dumps(entry, default=str) + "\n"
        self._torn = False
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the last entry of each task of a run, in the order in which they began."""
    found: dict[str, dict[str, Any]] = {}
    for entry in _lines(folder / FILE):
        found[entry["path"]] = entry
    return found


def forget(folder: Path, *, keep: tuple[str, ...] = ()) -> None:
    """Forget the tasks of a run, so that they run again, but for those whose state is in `keep`."""
    from chandlery.files import write_text

    entries = [entry for entry in read(folder).values() if entry["state"] in keep]
    write_text(folder / FILE, "".join(json.dumps(entry) + "\n" for entry in entries))


def processes_of(folder: Path) -> list[ProcessId]:
    """Return the processes of tasks that had not ended when the engine last wrote of them."""
    return [
        ProcessId(**entry["process"])
        for entry in read(folder).values()
        if entry.get("process") and entry["state"] not in ENDED
    ]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
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


def _is_torn(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            if not file.tell():
                return False
            file.seek(-1, 2)
            return file.read(1) != b"\n"
    except FileNotFoundError:
        return False
