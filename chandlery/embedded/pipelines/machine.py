"""The machine's cores and memory, shared by the tasks that run at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chandlery.embedded.pipelines.settings import Share


class Machine:
    """Cores and memory that tasks take and give back. Who asked first is served first."""

    def __init__(self, cpus: float, memory: float, most: int = 0) -> None:
        """Share so much.

        Args:
            cpus: cores.
            memory: bytes.
            most: tasks at a time; 0 for no limit.
        """
        self._free = self._whole = Share(cpus, memory)
        self._most = most or 2**31
        self._running = 0
        self._queue: list[tuple[Share, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def taken(self, share: Share) -> AsyncIterator[None]:
        """Hold a share of the machine; one that is larger than the machine waits until nothing else runs."""
        asked = Share(min(share.cpus, self._whole.cpus), min(share.memory, self._whole.memory))
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((asked, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(asked)
            raise
        try:
            yield
        finally:
            self._give_back(asked)

    def _give_back(self, share: Share) -> None:
        self._running -= 1
        self._free = Share(self._free.cpus + share.cpus, self._free.memory + share.memory)
        self._serve()

    def _serve(self) -> None:
        while self._queue:
            share, turn = self._queue[0]
            if turn.done():  # it was cancelled while it waited
                self._queue.pop(0)
                continue
            slack = 1e-9  # tenths of cores do not add up exactly
            if (
                self._running >= self._most
                or share.cpus > self._free.cpus + slack
                or share.memory > self._free.memory + slack
            ):
                return
            self._queue.pop(0)
            self._running += 1
            self._free = Share(self._free.cpus - share.cpus, self._free.memory - share.memory)
            turn.set_result(None)


def this_machine(most: int = 0) -> Machine:
    """Return the machine that this process may use."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(float(cpus), float(memory), most)
