"""What a run has done so far, kept so that it survives the engine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from chandlery.embedded.pipelines.execution import FAILED, GOOD, Execution
from chandlery.processes import ProcessId
from chandlery.redaction import redacted, redacted_values
from chandlery.runs import tasks


class Journal:
    """The tasks of one run, on disk."""

    def __init__(self, folder: Path) -> None:
        """Open the journal of the run in `folder`, which may have none yet."""
        self._folder = folder
        self._known = tasks.read(folder)

    def ended(self, path: str) -> tasks.Entry | None:
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
            "process": None if process is None else asdict(process),
        }
        tasks.append(self._folder, entry)
