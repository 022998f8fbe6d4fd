"""The life of a process that outlives the one that started it: started, remembered on disk, found again, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from chandlery.files import write_json
from chandlery.processes.identity import ProcessId, identify, is_running, read

# How a service is started: -P keeps the working directory out of the module path, where a user's file such as
# secrets.py would take the place of a module of the standard library.
PYTHON = (sys.executable, "-P", "-m")

# A shell that waits for a line before it becomes the program that it was given. It ends without the line: then the
# process that was to write the line is gone.
_WAITING = ("/bin/sh", "-c", 'read -r word || exit 1; exec "$@" </dev/null', "waiting")


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
    return process, identify(process.pid)


def start_remembered(
    argv: Sequence[str], environment: Mapping[str, str], log: Path, path: Path
) -> tuple[subprocess.Popen[bytes], ProcessId]:
    """Start a process as `start` does, but not before its identity is on disk.

    The caller may be killed at any moment: either the process is found by the identity in `path`, or it never ran.

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
            [*_WAITING, *argv],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
            bufsize=0,
        )
    assert process.stdin is not None
    identity = identify(process.pid)
    with process.stdin:
        try:
            save(identity, path)
        except BaseException:
            process.stdin.close()
            process.wait()
            raise
        with contextlib.suppress(BrokenPipeError):  # it was killed before it began
            process.stdin.write(b"go\n")
    return process, identity


def end(process: ProcessId | None, home: Path, grace: float = 10.0) -> None:
    """End the process and its whole group: SIGTERM, then SIGKILL after `grace` seconds.

    Args:
        process: the process; None for none.
        home: home folder that it and all that it started carry in their environment.
        grace: seconds between the signals.
    """
    if process is None:
        return
    ours = is_running(process)
    if ours:
        signal_group(process.pid, signal.SIGTERM)
        limit = time.monotonic() + grace
        while is_running(process) and time.monotonic() < limit:
            time.sleep(0.05)
    # The group outlives its leader when the leader alone was killed. Once the whole group is gone, its number may be
    # given to another program's group, which does not have this home in its environment.
    for member in group_members(process):
        if ours or _carries(member, home):
            _signal(member, signal.SIGKILL)


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group; one that is gone is not an error."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def group_members(process: ProcessId) -> list[int]:
    """Return the pids in the process's group that started no earlier than it did."""
    import psutil

    members = []
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) != process.pid:
                continue
        except OSError:
            continue
        found = read(pid)
        if found is not None and found.is_no_older(process):
            members.append(pid)
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


def _carries(pid: int, home: Path) -> bool:
    import psutil

    try:
        return psutil.Process(pid).environ().get("CHANDLERY_HOME") == str(home)
    except psutil.Error:
        return False


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return
