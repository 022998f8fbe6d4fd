"""Open files, and so connections, that this process may have: often 1,024 at the start."""

from __future__ import annotations

import contextlib


def raise_descriptor_limit() -> None:
    """Allow as many open files as the system lets this process and those that it starts have."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else 1 << 20
    if soft < most:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
