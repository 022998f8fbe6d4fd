"""What the handler of a signal may set: a flag of its own, or an Event by way of a thread."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from types import FrameType

PIPE_BYTES = 1 << 20  # more than a pipe holds


class Flag:
    """What `threading.Event` is between threads, for a signal's handler and the main thread.

    An Event holds a lock while it is set and while a wait begins and ends. A handler runs in the middle of that, in the
    same thread, and would wait for the lock for ever: two children that end at once are enough.
    """

    def __init__(self) -> None:
        """Begin cleared."""
        self._is_set = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and end a wait."""
        self._is_set = True
        with contextlib.suppress(BlockingIOError):  # full: whoever waits is woken anyway
            os.write(self._write, b".")

    def clear(self) -> None:
        """Clear it. What is set meanwhile stays set; only the wake-up for it may be gone, which `wait` does not need."""
        self._is_set = False
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, PIPE_BYTES)

    def wait(self, seconds: float) -> bool:
        """Wait until it is set, or for so many seconds; returns whether it is set."""
        if not self._is_set:
            select.select([self._read], [], [], seconds)
        return self._is_set


def setting(event: threading.Event) -> Callable[[int, FrameType | None], None]:
    """Return a signal's handler that sets an Event, which is also waited for elsewhere, in a thread of its own.

    The handler may run while the main thread holds the Event's lock; a thread can wait for it.
    """
    return lambda number, frame: threading.Thread(target=event.set, daemon=True).start()
