"""File locks: the kernel drops a lock when its process ends, however it ends.

A lock is on a whole file (`flock`). The file stays when the lock is released; it holds nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chandlery.errors import PlatformError


def claim(path: Path) -> int | None:
    """Take the lock of a file alone, without waiting.

    Args:
        path: the file; it is made when it is missing.

    Returns:
        a descriptor that keeps the lock as long as it is open; None when another process has the lock.

    Raises:
        OSError: the file cannot be made or opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def claim_service(path: Path, running: str) -> int:
    """Take the lock of a service that a home folder has one of.

    Args:
        path: the lock file; its folder is made when it is missing.
        running: message of the error when the service runs already.

    Returns:
        a descriptor that keeps the lock as long as it is open.

    Raises:
        PlatformError: another process has the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = claim(path)
    if descriptor is None:
        raise PlatformError(running, "use it, or stop it with `chandlery down`")
    return descriptor


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold the lock of a file alone, if it is free; gives False at once when another process has it."""
    descriptor = claim(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of a file alone; wait for it as long as another process has it."""
    with _waited_for(path, fcntl.LOCK_EX):
        yield


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock of a file together with others; wait while a process has it alone."""
    with _waited_for(path, fcntl.LOCK_SH):
        yield


def is_locked(path: Path) -> bool:
    """Return whether a living process has the lock of a file.

    Args:
        path: the file. One that is missing is not locked; one of another user, which cannot be opened, counts as
            locked.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _waited_for(path: Path, how: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
