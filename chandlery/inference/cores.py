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


def devices() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; TensorFlow is not asked."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [device.strip() for device in named.split(",") if device.strip() not in ("", "-1")]
    found = Path("/dev").glob("nvidia[0-9]*")
    return sorted((path.name.removeprefix("nvidia") for path in found), key=int)


def memory_limit() -> int:
    """Return the bytes of memory that this process may use: the container's limit, or else the machine's."""
    import psutil

    total = int(psutil.virtual_memory().total)
    with contextlib.suppress(OSError, ValueError):
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if text != "max":
            total = min(total, int(text))
    return total
