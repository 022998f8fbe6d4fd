"""Start a run on this machine, follow it, and leave its record complete whatever happens."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import chandlery
from chandlery import processes
from chandlery.addresses import endpoints, sign_in
from chandlery.errors import ConflictError
from chandlery.files import write_json
from chandlery.processes import PYTHON
from chandlery.processes.locks import claimed
from chandlery.progress import EVENTS_VARIABLE
from chandlery.provenance import RUN_VARIABLE
from chandlery.runs import tasks
from chandlery.runs.failure import explain
from chandlery.runs.record import FAILED, SUCCEEDED, RunRecord, begin, runs_root, save

StepEvent = dict[str, Any]
TICK = 0.1  # seconds between looks at the events
GRACE = 40.0  # seconds for the engine to end its steps, and to run the exit handler


@dataclass(frozen=True)
class Launched:
    """How a run ended.

    Attributes:
        record: the run's record.
        exit_code: 0, or the failed step's: 2 for a user's mistake, 1 otherwise.
    """

    record: RunRecord
    exit_code: int


def launch(
    name: str,
    package: Path,
    arguments: dict[str, Any],
    *,
    caching: bool = True,
    parallel: int = 0,
    runner: str = "auto",
    on_start: Callable[[RunRecord, bool], None] = lambda record, resumed: None,
    on_event: Callable[[StepEvent], None] = lambda event: None,
) -> Launched:
    """Run a compiled package on this machine to its end.

    Args:
        name: pipeline or component name.
        package: compiled YAML.
        arguments: arguments by name, checked and typed.
        caching: use results of earlier runs for pure steps.
        parallel: steps at a time; 0: as the cores and the memory of the machine allow.
        runner: `auto`, `process` or `docker`: where steps run.
        on_start: called once with the record and whether it continues an earlier run.
        on_event: called with each event of the run.

    Raises:
        ConflictError: another run is in progress in this home.
    """
    points = endpoints()
    home = points.home
    with only_run(home):
        record, before = begin(home, name, package, arguments)
        folder = runs_root(home) / record.run_id
        _end_what_is_left(record, folder, home)
        if before == FAILED:
            # What failed may have been mended since: pure steps come from the cache, all others run again.
            tasks.forget(folder)
        on_start(record, bool(before))
        request = {
            "run_id": record.run_id,
            "package": str(package.resolve()),
            "arguments": arguments,
            "caching": None if caching else False,
            "parallel": parallel,
            "runner": runner,
            "created": _utc(record.started),
            "home": str(home),
            "directory": _directory(),
            "pipeline_root": str(home / "artifacts" / "kfp"),
            "cache_root": str(home / "cache" / code_digest()),
            "environments": str(home / "cache" / "environments"),
        }
        write_json(folder / "request.json", request)
        events = folder / "events.jsonl"
        position = events.stat().st_size if events.exists() else 0
        child, identity = processes.start(
            [*PYTHON, "chandlery.embedded.pipelines", str(folder), str(os.getpid())],
            _environment(record, events),
            folder / "log.txt",
        )
        record = replace(record, process=identity)
        save(home, record)
        follower = _Follower(events, position)
        try:
            with _terminating():
                while not _ended(child, TICK):
                    record = _apply(record, follower.read(), on_event)
        finally:
            processes.end(identity, home, grace=GRACE)
            child.wait()
            _end_what_is_left(replace(record, process=None), folder, home)
        record = _apply(record, follower.read(), on_event)
        ok = child.returncode == 0
        record = replace(record, state=SUCCEEDED if ok else FAILED, finished=time.time(), process=None)
        if not ok and not record.error:
            path = follower.failed_path
            log = tasks.log_file(folder, path) if path else folder / "log.txt"
            lines, said = explain(log, path, follower.reason, child.returncode)
            record = replace(record, error=[*lines, *said])
        save(home, record)
        return Launched(record, 0 if ok else _exit_code(follower.failure))


def _end_what_is_left(record: RunRecord, folder: Path, home: Path) -> None:
    """End the engine and the steps of an attempt that was killed."""
    if record.process is not None:
        processes.end(record.process, home, grace=2.0)
    for process in tasks.processes_of(folder):
        processes.end(process, home, grace=0.0)


def _ended(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Return whether a process has ended, or ends within so many seconds."""
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was deleted
        return "/"


class _Follower:
    """Reads whole lines that were appended to the events since the last look."""

    def __init__(self, path: Path, position: int) -> None:
        self._path = path
        self._position = position
        self.failure: StepEvent = {}
        self.failed_path = ""
        self.reason: list[str] = []

    def read(self) -> Iterator[StepEvent]:
        try:
            with open(self._path, "rb") as file:
                file.seek(self._position)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data.rfind(b"\n") + 1
        self._position += whole
        for line in data[:whole].splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a line torn by a kill
            if event.get("event") == "step.failed":
                self.failure = event
            elif event.get("event") == "run.failed":
                self.failed_path, self.reason = event["path"], [event["error"], event["hint"]]
            yield event


def _apply(
    record: RunRecord, events: Iterator[StepEvent], on_event: Callable[[StepEvent], None]
) -> RunRecord:
    for event in events:
        task, kind = event.get("task", ""), event.get("event", "")
        entry = dict(record.tasks.get(task, {}))
        if kind == "task.started":
            entry |= {"state": "running", "started": event["time"]}
        elif kind == "task.finished":
            seconds = event.get("seconds", 0.0)
            entry |= {"state": "succeeded" if event["ok"] else "failed", "seconds": round(seconds, 3)}
        elif kind == "task.cached":
            entry |= {"state": "cached", "seconds": 0.0}
        elif kind == "task.skipped":
            entry |= {"state": "skipped"}
        elif kind == "run.outputs":
            record = replace(record, outputs=event["outputs"])
        elif kind == "step.failed":
            record = replace(record, error=[event["error"], event["hint"]])
        if entry and task:
            record = replace(record, tasks={**record.tasks, task: entry})
        on_event(event)
    return record


def _exit_code(failure: StepEvent) -> int:
    return int(failure.get("exit_code", 1))


@contextmanager
def only_run(home: Path) -> Iterator[None]:
    """Hold the lock of a home's runs: one at a time. Raises ConflictError when a run is in progress."""
    runs_root(home).mkdir(parents=True, exist_ok=True)
    with claimed(runs_root(home) / "lock") as free:
        if not free:
            raise ConflictError(
                f"another run is in progress in {home}",
                "wait for it (or for `chandlery gc`), or give this one a CHANDLERY_HOME of its own",
            )
        yield


@contextmanager
def _terminating() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does: steps get the signal, the record is written."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _environment(record: RunRecord, events: Path) -> dict[str, str]:
    points = endpoints()
    sign_in(points)  # components of other origins use MLflow's client too
    known = {
        "CHANDLERY_HOME": str(points.home),
        "MLFLOW_TRACKING_URI": points.mlflow,
        "CHANDLERY_GATEWAY": points.gateway,
        RUN_VARIABLE: record.run_id,
        EVENTS_VARIABLE: str(events),
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    return {**os.environ, **{name: value for name, value in known.items() if value}}


def code_digest() -> str:
    """Return a digest of the installed package's source: cached results of other code are not used."""
    root = Path(chandlery.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
