"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from typing import Any

import psutil

from chandlery.frameworks.compiled import processor


def describe() -> dict[str, Any]:
    """Return processor, cores, memory in GiB, system, Python, and the load average (1 minute) when asked."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }
