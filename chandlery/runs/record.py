"""The record of each run on this machine: `<home>/runs/<run id>/run.json` beside its events and its log."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from chandlery.files import write_text
from chandlery.processes import ProcessId
from chandlery.redaction import redacted_values

RUNNING, SUCCEEDED, FAILED = "running", "succeeded", "failed"


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        run_id: name of the run, unique in its home.
        pipeline: name of the pipeline or component.
        package: path of the compiled YAML as run.
        digest: of the YAML and the arguments as they were given: equal digests are the same command.
        arguments: arguments by name, secrets of addresses hidden.
        state: running, succeeded or failed.
        started: first start, seconds since the epoch.
        finished: end, or 0.
        attempts: times it was started.
        process: the executing process group, to clean up after a kill.
        tasks: state and seconds by task name, in order of execution.
        error: message and hint of the step that failed.
        outputs: values, and paths of artifacts, that the package itself puts out.
    """

    run_id: str
    pipeline: str
    package: str
    digest: str
    arguments: dict[str, Any]
    state: str = RUNNING
    started: float = 0.0
    finished: float = 0.0
    attempts: int = 1
    process: ProcessId | None = None
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: list[str] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)


def runs_root(home: Path) -> Path:
    """Return the folder of all runs of a home."""
    return home / "runs"


def command_digest(package: Path, arguments: dict[str, Any]) -> str:
    """Return the digest of a command: the same YAML with the same arguments gives the same one."""
    text = package.read_text(encoding="utf-8") + json.dumps(arguments, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def begin(home: Path, pipeline: str, package: Path, arguments: dict[str, Any]) -> tuple[RunRecord, str]:
    """Return the record to run under, and the state of the earlier run that it continues; empty for a new run.

    The last run of the same command is continued when it did not succeed, so that every step finds its own
    earlier work under the same names. Otherwise a new run begins.
    """
    digest = command_digest(package, arguments)
    last = next((record for record in all_runs(home) if record.digest == digest), None)
    if last is not None and last.state != SUCCEEDED:
        record = replace(last, state=RUNNING, attempts=last.attempts + 1, finished=0.0, error=[], tasks={})
        save(home, record)
        return record, last.state
    stamp = time.strftime("%Y%m%d-%H%M%S")
    run_id = f"{pipeline.replace('_', '-')}-{stamp}-{secrets.token_hex(2)}"
    shown = redacted_values(arguments)
    record = RunRecord(run_id, pipeline, str(package), digest, shown, started=time.time())
    save(home, record)
    return record, ""


def all_runs(home: Path) -> list[RunRecord]:
    """Return the runs of a home, newest first; unreadable records are left out."""
    found = []
    for path in runs_root(home).glob("*/run.json"):
        record = load(path)
        if record is not None:
            found.append(record)
    return sorted(found, key=lambda record: record.started, reverse=True)


def load(path: Path) -> RunRecord | None:
    """Read a record; None when it is not readable."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        process = document.pop("process", None)
        return RunRecord(**document, process=ProcessId(**process) if process else None)
    except (OSError, ValueError, TypeError):
        return None


def save(home: Path, record: RunRecord) -> None:
    """Write a record atomically."""
    write_text(
        runs_root(home) / record.run_id / "run.json", json.dumps(asdict(record), indent=2, default=str)
    )
