"""Who watches a canary: one process at a time, and a dead one is succeeded at once."""

from __future__ import annotations

import os
import socket
import time

from chandlery.canary.decision.state import CanaryState

LEASE_SECONDS = 20.0  # a holder that has not written for this long is dead, wherever it ran
RENEW_SECONDS = 5.0


def own_name() -> str:
    """Return the name of this process: host, process id and when it started, since ids come back."""
    import psutil

    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def is_alive(state: CanaryState, now: float | None = None) -> bool:
    """Tell whether the holder of a state is still watching it.

    Args:
        state: the state as stored.
        now: seconds since 1970; None for the present.
    """
    if not state.holder:
        return False
    if (time.time() if now is None else now) - state.heartbeat > LEASE_SECONDS:
        return False
    host, pid, started = state.holder.rsplit("/", 2)
    return host != socket.gethostname() or _runs(int(pid), started)


def _runs(pid: int, started: str) -> bool:
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.2f}" == started
    except psutil.Error:
        return False
