"""The cores that a server may use."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def cores() -> int:
    """Return the number of cores that this process may use: its affinity, and a container's CPU limit."""
    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        found = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, _, period = Path("/sys/fs/cgroup/cpu.max").read_text().strip().partition(" ")
        if quota != "max":
            found = min(found, max(1, round(int(quota) / int(period))))
    return found
