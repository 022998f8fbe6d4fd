"""Marks on things of a cache: who uses one holds its mark until the process ends, and nobody takes it away meanwhile.

The mark is an empty file beside the thing, locked by the kernel, which drops the lock however a process ends. Its
modification time says when the thing was last used.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_held: dict[Path, int] = {}  # open for as long as this process lives, so that the lock is
_guard = threading.Lock()


def mark_of(thing: Path) -> Path:
    """Return the mark of a file or folder: hidden, beside it."""
    return thing.with_name(f".{thing.name}.use")


def hold(thing: Path) -> None:
    """Keep `thing` from being taken away until this process ends; it need not exist yet, but its folder must.

    Raises:
        OSError: the mark cannot be written.
    """
    mark = mark_of(thing)
    with _guard:
        descriptor = _held.get(mark)
        if descriptor is None or not _same(descriptor, mark):
            if descriptor is not None:
                os.close(descriptor)
            descriptor = _held[mark] = _locked(mark, fcntl.LOCK_SH)
        os.utime(descriptor)


def drop(thing: Path) -> None:
    """Stop using `thing` before this process ends; one that is not held is no error."""
    with _guard:
        descriptor = _held.pop(mark_of(thing), None)
    if descriptor is not None:
        os.close(descriptor)


def give_up(thing: Path) -> None:
    """Take back `hold` of a thing that could not be made: its mark goes too, unless another process waits for the thing."""
    drop(thing)
    with alone(thing) as free:
        if free and not thing.exists():
            mark_of(thing).unlink(missing_ok=True)


@contextmanager
def alone(thing: Path) -> Iterator[bool]:
    """Try to be the only one that uses `thing`; gives False at once when a process holds it.

    Whoever wants it meanwhile waits in `hold`, and finds the mark anew when it was removed here.
    """
    mark = mark_of(thing)
    new = _made(mark)
    try:
        descriptor = _locked(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        if new and _same(descriptor, mark):
            mark.unlink()  # while it is locked: who waits for it sees that it is gone
        os.close(descriptor)


def is_held(thing: Path) -> bool:
    """Tell whether a process holds `thing` just now."""
    if not mark_of(thing).exists():
        return False
    with alone(thing) as free:
        return not free


def last_used(thing: Path) -> float:
    """Return when `thing` was last held, seconds since the epoch; 0 when never."""
    try:
        return mark_of(thing).stat().st_mtime
    except OSError:
        return 0.0


def _made(mark: Path) -> bool:
    """Make a mark that says "never used"; False when there is one already."""
    try:
        descriptor = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    os.utime(descriptor, (0, 0))
    os.close(descriptor)
    return True


def _locked(mark: Path, how: int) -> int:
    while True:
        descriptor = os.open(mark, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, how)
        except BaseException:
            os.close(descriptor)
            raise
        if _same(descriptor, mark):
            return descriptor
        os.close(descriptor)  # removed between opening and locking: it is nobody's mark any more


def _same(descriptor: int, mark: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), mark.stat())
    except OSError:
        return False
