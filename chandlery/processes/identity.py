"""The identity of a process: a pid is used again after a while, a pid with its start is not.

Linux counts a process's start in clock ticks since the machine was booted. That number and the id of the boot never
change while the process lives. A start time in seconds since the epoch does change: it is computed from the boot
time, which moves whenever the machine's clock is set. Seconds are compared only where ticks are not known: on another
operating system, or in a record of an earlier release.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from functools import cache

START_TOLERANCE = 2.0  # seconds by which two readings of one start time may differ

_PROC = "/proc"


@dataclass(frozen=True)
class ProcessId:
    """A process beyond doubt.

    Attributes:
        pid: process id; also that of its group, as each process here is started as a group leader.
        started: start time, seconds since the epoch.
        ticks: start in clock ticks since the boot; 0 where that is not known.
        boot: id of the boot; empty where that is not known.
    """

    pid: int
    started: float
    ticks: int = 0
    boot: str = ""

    def is_same(self, other: ProcessId) -> bool:
        """Return whether both are one process."""
        if self.pid != other.pid:
            return False
        if self.boot and other.boot:
            return (self.boot, self.ticks) == (other.boot, other.ticks)
        return abs(self.started - other.started) <= START_TOLERANCE

    def is_no_older(self, other: ProcessId) -> bool:
        """Return whether this process started when `other` did, or later."""
        if self.boot and other.boot:
            return self.boot == other.boot and self.ticks >= other.ticks
        return self.started >= other.started - START_TOLERANCE


def read(pid: int) -> ProcessId | None:
    """Return the identity of the process that runs under `pid` now; None when there is none.

    A process that has ended and that its parent has not reaped yet does not run.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return ProcessId(pid, process.create_time(), *_ticks(pid))
    except (psutil.Error, ValueError):
        return None


def identify(pid: int) -> ProcessId:
    """Return the identity of a process that was just started; one that no process has when it has ended already."""
    return read(pid) or ProcessId(pid, time.time())


def runs(pid: int) -> bool:
    """Return whether any process runs under `pid`."""
    return read(pid) is not None


def is_running(process: ProcessId | None) -> bool:
    """Return whether this very process still runs."""
    found = None if process is None else read(process.pid)
    return process is not None and found is not None and found.is_same(process)


def holder_text() -> str:
    """Return the identity of this process as text, its host included: for a lease that other processes read."""
    own = identify(os.getpid())
    return f"{socket.gethostname()}/{own.pid}/{own.started:.2f}/{own.ticks}/{own.boot}"


def holder_is_running(text: str) -> bool | None:
    """Return whether the process of a `holder_text` still runs; None when it is one of another host.

    Texts of earlier releases, without ticks and boot, are understood.

    Raises:
        ValueError: the text is not one of a holder.
    """
    host, pid, started, *rest = text.split("/")
    if host != socket.gethostname():
        return None
    ticks, boot = rest or ("0", "")
    return is_running(ProcessId(int(pid), float(started), int(ticks), boot))


def _ticks(pid: int) -> tuple[int, str]:
    """Return the start of a process in ticks since the boot and the boot's id; (0, "") where there is no /proc."""
    try:
        with open(f"{_PROC}/{pid}/stat", "rb") as file:
            # Field 22 (proc(5)); the second field, the name in parentheses, may hold spaces and parentheses itself.
            return int(file.read().rpartition(b")")[2].split()[19]), _boot_id()
    except (OSError, IndexError):
        return 0, ""


@cache
def _boot_id() -> str:
    with open(f"{_PROC}/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
