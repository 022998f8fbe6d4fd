"""The lease of a canary's watcher: one process watches at a time, and another takes over from a dead one at once."""

from __future__ import annotations

import time

from chandlery.canary.decision.state import CanaryState
from chandlery.processes import holder_is_running

LEASE_SECONDS = 20.0  # a holder that has not renewed its lease for this long is dead, wherever it runs
RENEW_SECONDS = 5.0


def is_alive(state: CanaryState, now: float | None = None) -> bool:
    """Return whether the holder of a state still watches it.

    Args:
        state: the state as stored.
        now: seconds since 1970; None for the present.
    """
    if not state.holder or (time.time() if now is None else now) - state.heartbeat > LEASE_SECONDS:
        return False
    running = holder_is_running(state.holder)
    return running is None or running  # a process of another host cannot be asked: its lease counts
