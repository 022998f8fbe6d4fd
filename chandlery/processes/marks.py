"""Use marks: an entry of a cache that a process uses is not removed by the garbage collector.

A mark is an empty file beside the entry, locked by each process that uses the entry. The kernel drops the lock when
the process ends, however it ends. The mark's modification time tells when the entry was last used.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_held: dict[Path, int] = {}  # descriptors, open as long as this process lives: they keep the locks
_guard = threading.Lock()


def mark_of(entry: Path) -> Path:
    """Return the mark of a file or folder: hidden, beside it."""
    return entry.with_name(f".{entry.name}.use")


def use(entry: Path) -> None:
    """Mark `entry` as used until this process ends. The entry need not exist yet, but its folder must.

    Raises:
        OSError: the mark cannot be written.
    """
    mark = mark_of(entry)
    with _guard:
        descriptor = _held.get(mark)
        if descriptor is None or not _is_same(descriptor, mark):
            if descriptor is not None:
                os.close(descriptor)
            descriptor = _held[mark] = _lock(mark, fcntl.LOCK_SH)
        os.utime(descriptor)


def release(entry: Path) -> None:
    """End the use of `entry` before this process ends; does nothing for one that this process does not use."""
    with _guard:
        descriptor = _held.pop(mark_of(entry), None)
    if descriptor is not None:
        os.close(descriptor)


def abandon(entry: Path) -> None:
    """End the use of an entry that could not be made: its mark is removed too, unless another process uses it."""
    release(entry)
    with only_user(entry) as alone:
        if alone and not entry.exists():
            mark_of(entry).unlink(missing_ok=True)


@contextmanager
def only_user(entry: Path) -> Iterator[bool]:
    """Be the only user of `entry`; gives False at once when another process uses it.

    A process that calls `use` at the same time waits, and makes the mark again when it was removed here.
    """
    mark = mark_of(entry)
    new = _make(mark)
    try:
        descriptor = _lock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        if new and _is_same(descriptor, mark):
            mark.unlink()  # while it is locked: a process that waits for it sees that it is gone
        os.close(descriptor)


def is_used(entry: Path) -> bool:
    """Return whether a process uses `entry` now."""
    if not mark_of(entry).exists():
        return False
    with only_user(entry) as alone:
        return not alone


def last_used(entry: Path) -> float:
    """Return when `entry` was last marked as used, seconds since the epoch; 0 when never."""
    try:
        return mark_of(entry).stat().st_mtime
    except OSError:
        return 0.0


def _make(mark: Path) -> bool:
    """Make a mark whose time is 0, "never used"; return False when there is one already."""
    try:
        descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    os.utime(descriptor, (0, 0))
    os.close(descriptor)
    return True


def _lock(mark: Path, how: int) -> int:
    while True:
        descriptor = os.open(mark, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, how)
        except BaseException:
            os.close(descriptor)
            raise
        if _is_same(descriptor, mark):
            return descriptor
        os.close(descriptor)  # removed between opening and locking: not the entry's mark any more


def _is_same(descriptor: int, mark: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), mark.stat())
    except OSError:
        return False
