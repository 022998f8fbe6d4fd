"""The process that runs one compiled package with `kfp.local`, its steps in its own process group.

Started by `chandlery.runs.launch`. Standard output is the run's log; what happens to each task is read from
kfp's own log lines and appended to the run's events.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import IO

from chandlery import kfp_local
from chandlery.files import write_json
from chandlery.lean import load_kfp
from chandlery.progress import report_silently
from chandlery.provenance import TASK_VARIABLE
from chandlery.redaction import redacted, redacted_values

COLOR = re.compile(r"\x1b\[[0-9;]*m")
STARTED = re.compile(r"Executing task '([^']+)'")
FINISHED = re.compile(r"Task '([^']+)' finished with status (SUCCESS|FAILURE)")
CACHED = re.compile(r"Task (\S+) cache hit")
SKIPPED = re.compile(r"Skipping (?:conditional )?task (\S+?):? (?:\(condition|upstream)")
RETRIED = re.compile(r"Task (\S+) failed \(attempt (\d+)/(\d+)\)\. Retrying in ([0-9.]+)s")

PARENT_TICK = 0.5  # seconds between looks at the parent


class Follower:
    """A text stream that passes whole lines on, without secrets, and turns kfp's task lines into events."""

    def __init__(self, out: IO[str]) -> None:
        """Pass on to `out`."""
        self._out = out
        self._rest = ""

    def write(self, text: str) -> int:
        """Pass on and look at each line that `text` completes."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._out.write(redacted(line) + "\n")
            follow(COLOR.sub("", line))
        return len(text)

    def flush(self) -> None:
        """Flush what is below; a line that is not whole waits, as a half of a secret cannot be told."""
        self._out.flush()

    def close(self) -> None:
        """Pass on what follows the last line."""
        self._out.write(redacted(self._rest))
        self._rest = ""
        self._out.flush()

    def isatty(self) -> bool:
        """Never a terminal: it is a log."""
        return False


class FollowingHandler(logging.Handler):
    """Sees the log records that kfp writes outside its own logging context: cache hits, skips, retries."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record, so that the stream sees it."""
        print(record.getMessage(), flush=True)


def follow(line: str) -> None:
    """Append the event of one log line, if it has one; kfp writes the names of tasks with dashes."""
    if match := STARTED.search(line):
        report_silently("task.started", task=_name(match[1]))
    elif match := FINISHED.search(line):
        report_silently("task.finished", task=_name(match[1]), ok=match[2] == "SUCCESS")
    elif match := CACHED.search(line):
        report_silently("task.cached", task=_name(match[1]))
    elif match := RETRIED.search(line):
        report_silently("task.retried", task=_name(match[1]), attempt=int(match[2]), seconds=float(match[4]))
    elif match := SKIPPED.search(line):
        report_silently("task.skipped", task=_name(match[1]))


def _name(text: str) -> str:
    return text.replace("-", "_")


def die_with_parent(parent: int) -> None:
    """End this process group when the parent is gone: a killed `chandlery run` leaves no step behind.

    Args:
        parent: process id of `chandlery run`. Given as an argument, because an orphan has another parent.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_TICK)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def main(folder: Path, parent: int) -> int:
    """Run what `<folder>/request.json` asks for, for a parent; returns 0 when the pipeline succeeded, else 1."""
    die_with_parent(parent)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    # A retry brings the arguments again; what stays on the disk holds no secret of an address.
    write_json(folder / "request.json", {**request, "arguments": redacted_values(request["arguments"])})
    warnings.simplefilter("ignore")
    for name in ("stdout", "stderr"):
        follower = Follower(getattr(sys, name))
        setattr(sys, name, follower)
        atexit.register(follower.close)
    handler = FollowingHandler(logging.INFO)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)

    load_kfp()
    from kfp import components

    logging.getLogger("kfp").setLevel(logging.INFO)
    kfp_local.init(
        pipeline_root=request["pipeline_root"],
        workspace_root=str(folder / "workspace"),
        enable_caching=request["caching"],
        cache_root=request["cache_root"],
    )
    runnable = components.load_component_from_file(request["package"])
    if runnable.component_spec.implementation.graph is None:
        os.environ[TASK_VARIABLE] = _name(runnable.name)  # tasks of a pipeline learn theirs from the package
    try:
        task = runnable(**request["arguments"])
    except RuntimeError as error:  # kfp reports a failed task so; the task's own event holds the reason
        print(f"{error}", flush=True)
        return 1
    outputs = {name: getattr(value, "path", value) for name, value in task.outputs.items()}
    report_silently("run.outputs", outputs=outputs)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
