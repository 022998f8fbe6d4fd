"""A trial's process as seen from the controller, whichever controller started it: its whole state is in the trial's folder."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from chandlery import processes
from chandlery.embedded.experiments import wrapper
from chandlery.embedded.experiments.template import Command
from chandlery.files import write_json
from chandlery.processes.locks import is_locked

MAX_ATTEMPTS = 3  # starts of a trial whose process was killed from outside, before it counts as failed

_GRACE_SECONDS = wrapper.GRACE_SECONDS + 2


def wait_for_any(trials: Iterable[TrialProcess], seconds: float) -> None:
    """Wait until one of the trials that this controller started ends, at most `seconds`."""
    with selectors.DefaultSelector() as selector:
        for trial in trials:
            if sign := trial.end_sign():
                selector.register(sign, selectors.EVENT_READ)
        selector.select(seconds)


@dataclass(frozen=True)
class Ended:
    """How a trial's process ended.

    Attributes:
        code: exit code; minus the signal's number when a signal ended it.
        reason: what to add; empty when the exit code is enough.
    """

    code: int
    reason: str = ""


class TrialProcess:
    """The process of one trial.

    Args:
        folder: the trial's folder.
        uid: uid of the Trial; a folder of another one of the same name is cleared.
    """

    def __init__(self, folder: Path, uid: str) -> None:
        self.folder = folder
        self._uid = uid
        self._child: subprocess.Popen[bytes] | None = None
        if self._run().get("uid") not in (None, uid):
            self.end()
            shutil.rmtree(folder)

    @property
    def attempts(self) -> int:
        """How often it was started."""
        return int(self._run().get("attempt", 0))

    def start(self, command: Command) -> None:
        """Start it (again); does not wait."""
        attempt = self.attempts + 1
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "process.json").unlink(missing_ok=True)
        if command.metrics_file:
            shutil.rmtree(Path(command.metrics_file).parent, ignore_errors=True)
            Path(command.metrics_file).parent.mkdir()
        run = {
            "uid": self._uid,
            "attempt": attempt,
            "words": command.words,
            "environment": command.environment,
            "folder": command.folder,
            "deadline_seconds": command.deadline_seconds,
            "metrics_file": command.metrics_file,
        }
        write_json(self.folder / "run.json", run, indent=1)
        # -I and -S: nothing of the caller's Python settings, and no site packages, to start quickly.
        self._child = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", wrapper.__file__),
                *(str(self.folder), command.folder, str(command.deadline_seconds), *command.words),
            ],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **command.environment},
            stdin=subprocess.DEVNULL,
            # Nothing is written to it: its end of file shows at once that the wrapper has ended.
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def is_running(self) -> bool:
        """Return whether it runs, started by this controller or by an earlier one."""
        return self._child_runs() or is_locked(self.folder / "lock")

    def end_sign(self) -> IO[bytes] | None:
        """Return a file that becomes readable when it ends, until `is_running` has returned False.

        None when it was not started by this controller.
        """
        # It must not be asked here whether it runs: an end between a look and the wait would be slept through.
        sign = self._child.stdout if self._child is not None else None
        return sign if sign is not None and not sign.closed else None

    def ended(self) -> Ended | None:
        """Return how it ended; None while it runs, and when it was killed before it could end."""
        values = _read(self.folder / "exit.json")
        if not values:
            return None
        late = f"it was active longer than {self._run()['deadline_seconds']:g} s" if values["late"] else ""
        return Ended(int(values["code"]), late)

    def log_lines(self) -> list[str]:
        """Return the lines that it has finished writing: of its metrics file when it has one, else of its log."""
        path = Path(self._run().get("metrics_file") or self.folder / "trial.log")
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return []
        whole = data if self.ended() else data[: data.rfind(b"\n") + 1]
        return whole.decode("utf-8", "replace").splitlines()

    def last_words(self) -> str:
        """Return the last two lines of its log that are not empty, shortened: an error of Chandlery has two lines."""
        try:
            lines = (self.folder / "trial.log").read_bytes()[-4096:].decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return ""
        return " | ".join([line.strip()[:300] for line in lines if line.strip()][-2:])

    def end(self) -> None:
        """End it with everything that it started: SIGTERM, then after a grace SIGKILL; waits until it is gone."""
        deadline = time.monotonic() + _GRACE_SECONDS
        sent = False
        while self.is_running():
            group = self._group()
            late = time.monotonic() > deadline
            # Until process.json is there the group is known only to the controller that started it.
            if group and (late or not sent):
                processes.signal_group(group, signal.SIGKILL if late else signal.SIGTERM)
                sent = True
            if time.monotonic() > deadline + _GRACE_SECONDS:
                return  # a process that SIGKILL does not end hangs in the kernel
            time.sleep(0.02)

    def _child_runs(self) -> bool:
        if self._child is None:
            return False
        if self._child.poll() is None:
            return True
        if self._child.stdout is not None:
            self._child.stdout.close()
        return False

    def _group(self) -> int:
        # The wrapper leads its own process group, so its pid names the group. The lock that is held proves that a
        # member of the group lives, so the number cannot belong to another program.
        if self._child is not None and self._child_runs():
            return self._child.pid
        return int(_read(self.folder / "process.json").get("pid", 0))

    def _run(self) -> dict[str, Any]:
        return _read(self.folder / "run.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return dict(values)
