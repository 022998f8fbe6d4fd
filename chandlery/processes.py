"""Processes that outlive who started them: found again by pid and start time, ended by group."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from chandlery.files import write_json

# Waits for a word before it becomes the program that it was given; without one (whoever was to say it is gone) it ends.
_HELD = ("/bin/sh", "-c", 'read -r word || exit 1; exec "$@" </dev/null', "held")

START_TOLERANCE = 1.0  # seconds by which two readings of one process's start time may differ


@dataclass(frozen=True)
class ProcessId:
    """A process beyond doubt: pids are reused, a pid with its start time is not.

    Attributes:
        pid: process id; also its group, as each is started as a group leader.
        started: start time, seconds since the epoch.
    """

    pid: int
    started: float


def start(
    argv: Sequence[str], environment: Mapping[str, str], log: Path
) -> tuple[subprocess.Popen[bytes], ProcessId]:
    """Start a process in a session of its own, its output appended to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as out:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
    return process, ProcessId(process.pid, started(process.pid))


def start_remembered(
    argv: Sequence[str], environment: Mapping[str, str], log: Path, path: Path
) -> tuple[subprocess.Popen[bytes], ProcessId]:
    """Start a process as `start` does, but not before its identity is on disk.

    Whoever starts it may be killed at any moment: either the process is found by what `path` says, or it never ran.

    Args:
        argv: command line.
        environment: all of its environment.
        log: file that its output is appended to.
        path: file for its identity, as `save` writes it.

    Raises:
        OSError: the identity could not be written; nothing was started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as out:
        process = subprocess.Popen(
            [*_HELD, *argv],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
            bufsize=0,
        )
    assert process.stdin is not None
    identity = ProcessId(process.pid, started(process.pid))
    with process.stdin:
        try:
            save(identity, path)
        except BaseException:
            process.stdin.close()
            process.wait()
            raise
        with contextlib.suppress(BrokenPipeError):  # it was killed meanwhile
            process.stdin.write(b"go\n")
    return process, identity


def alive(process: ProcessId | None) -> bool:
    """Tell whether the process still runs (a zombie does not)."""
    if process is None or not running(process.pid):
        return False
    try:
        return abs(psutil.Process(process.pid).create_time() - process.started) < START_TOLERANCE
    except psutil.Error:
        return False


def running(pid: int) -> bool:
    """Tell whether some process of this pid runs; one that has ended and that nobody has reaped yet does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def end(process: ProcessId | None, home: Path, grace: float = 10.0) -> None:
    """End the process and its whole group: SIGTERM, then SIGKILL after `grace` seconds.

    Args:
        process: the process; None for none.
        home: home folder that it and all that it started carry in their environment.
        grace: seconds between the signals.
    """
    if process is None:
        return
    ours = alive(process)
    if ours:
        signal_group(process.pid, signal.SIGTERM)
        limit = time.monotonic() + grace
        while alive(process) and time.monotonic() < limit:
            time.sleep(0.05)
    # The group outlives its leader when the leader alone was killed. But once all of it is gone (this machine may
    # have been started anew since), its number is free for a stranger's group, which does not carry our home.
    for member in group_members(process):
        if ours or _carries(member, home):
            _signal(member, signal.SIGKILL)


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group; one that is gone by now is no error."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def group_members(process: ProcessId) -> list[int]:
    """Return the pids in the process's group that started no earlier than it did."""
    members = []
    for candidate in psutil.process_iter(["pid", "create_time"]):
        try:
            same = os.getpgid(candidate.info["pid"]) == process.pid
        except OSError:
            continue
        if same and candidate.info["create_time"] >= process.started - START_TOLERANCE:
            members.append(int(candidate.info["pid"]))
    return members


def save(process: ProcessId, path: Path) -> None:
    """Write the process's identity to `path` atomically."""
    write_json(path, asdict(process), indent=None)


def load(path: Path) -> ProcessId | None:
    """Read what `save` wrote; None when there is nothing readable."""
    try:
        return ProcessId(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def started(pid: int) -> float:
    """Return the start time of a process, seconds since the epoch; now, when it is gone."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return time.time()


def _carries(pid: int, home: Path) -> bool:
    try:
        return psutil.Process(pid).environ().get("CHANDLERY_HOME") == str(home)
    except psutil.Error:
        return False


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return
