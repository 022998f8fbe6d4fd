"""Micro-batching: requests that arrive while the model is busy are answered together by its next call."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from chandlery.errors import RecipeError
from chandlery.inference.model import count, refusal_of
from chandlery.inference.refusal import INTERNAL, Refused
from chandlery.recipe import Columns

# A call that takes less is made on the event loop: the requests that it holds up would wait for the model anyway, and a
# thread for it would cost more, in waiting for the interpreter, than the requests that could be read in that time.
QUICK_SECONDS = 0.005
# A call that takes less in the thread may be a quick one that waited for the interpreter: every so often one is made on
# the loop, to see.
PERHAPS_QUICK_SECONDS = 0.02
SEE_EVERY = 64


@dataclass(eq=False, slots=True)
class _Waiting:
    rows: Columns
    count: int
    expires: float  # on the loop's clock
    answer: asyncio.Future[Columns] = field(repr=False)


class Batcher:
    """One queue in front of one model. All methods belong to one event loop.

    Args:
        answer: the model: n raw rows to n answers; one call at a time, in a thread of its own unless it is quick.
        max_batch: most rows of a call; a single larger request is a call of its own.
        max_wait: seconds that a first request waits for others; 0: it goes as soon as the model is free.
        max_queue: most requests that wait.
        timeout: seconds that a request waits at most.
        observe: called with the number of rows of each call.
    """

    def __init__(
        self,
        answer: Callable[[Columns], Columns],
        max_batch: int,
        max_wait: float,
        max_queue: int,
        timeout: float,
        observe: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self._answer = answer
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._max_queue = max_queue
        self._timeout = timeout
        self._observe = observe
        self._queue: deque[_Waiting] = deque()
        self._due: deque[_Waiting] = deque()  # in the order of their expiry, answered ones at its end perhaps
        # one timer for all: one for each would cost more than its answer
        self._expiry: asyncio.TimerHandle | None = None
        self._rows = 0  # rows in the queue
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._busy = False  # a call is under way in the thread
        self._next: asyncio.Handle | None = None  # the next look at the queue
        self._seen = 0  # requests that waited when the queue was last looked at
        self._together = 1  # requests of the last call
        self._typical = math.inf  # seconds of a call, recent ones counting most
        self._calls_in_thread = 0

    async def stop(self) -> None:
        """Stop answering; requests that still wait are refused."""
        for handle in (self._next, self._expiry):
            if handle is not None:
                handle.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)
        for waiting in self._queue:
            if not waiting.answer.done():
                waiting.answer.set_exception(
                    Refused(503, "the server is stopping", "STOPPING", retry_after=1)
                )
        self._queue.clear()
        self._rows = 0

    def __len__(self) -> int:
        """Return the number of requests that wait."""
        return len(self._queue)

    async def submit(self, rows: Columns) -> Columns:
        """Return the answers for the rows of one request.

        Raises:
            Refused: the queue is full (503), it took too long (504), or the recipe raised (400 or 500).
        """
        if len(self._queue) >= self._max_queue:
            raise Refused(503, f"{self._max_queue} requests are waiting already", "QUEUE_FULL", retry_after=1)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(rows, count(rows), loop.time() + self._timeout, loop.create_future())
        self._queue.append(waiting)
        self._rows += waiting.count
        self._read_soon()
        self._forget_answered()
        self._due.append(waiting)
        if self._expiry is None:
            self._expiry = loop.call_at(waiting.expires, self._expire)
        return await waiting.answer

    def _forget_answered(self) -> None:
        while self._due and self._due[0].answer.done():
            self._due.popleft()

    def _expire(self) -> None:
        """Refuse those that have waited too long, and come back when the next is due."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._expiry = None
        self._forget_answered()
        while self._due and self._due[0].expires <= now:
            waiting = self._due.popleft()
            if not waiting.answer.done():
                waiting.answer.set_exception(Refused(504, f"no answer within {self._timeout:g} s", "TIMEOUT"))
        if self._due:
            self._expiry = loop.call_at(self._due[0].expires, self._expire)

    def _read_soon(self) -> None:
        """Have the queue looked at: once no more requests come in by themselves, or when it is time for a batch."""
        if self._busy or not self._queue:
            return
        loop = asyncio.get_running_loop()
        waits = self._max_wait > 0 and self._rows < self._max_batch
        if self._next is None:
            # A lone request is answered at once. After a call for several, the sockets are read once more first.
            self._seen = 0 if self._together > 1 else 1
            self._next = (
                loop.call_later(self._max_wait, self._start_batch) if waits else loop.call_soon(self._gather)
            )
        elif self._max_wait > 0 and not waits:
            self._next.cancel()
            self._next = loop.call_soon(self._start_batch)

    def _gather(self) -> None:
        """Let the loop read its sockets again as long as that brings requests, and no longer.

        To read a request takes about as long as its client takes to send the next, so clients that ask without a pause
        end up in one call, which costs hardly more than a call for one of them; a lone client does not wait.
        """
        if len(self._queue) > self._seen and self._rows < self._max_batch:
            self._seen = len(self._queue)
            self._next = asyncio.get_running_loop().call_soon(self._gather)
        else:
            self._start_batch()

    def _start_batch(self) -> None:
        """Have the next batch answered: here when the model is quick, for a change of threads takes longer then."""
        self._next = None
        batch = self._next_batch()
        if not batch:
            self._read_soon()
            return
        rows = sum(waiting.count for waiting in batch)
        self._together = len(batch)
        self._observe(rows)
        requests = [waiting.rows for waiting in batch]
        if self._is_quick() and rows <= self._max_batch:
            self._deliver(batch, self._compute(requests))
            return
        self._busy = True
        self._calls_in_thread += 1
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._compute, requests)
        work.add_done_callback(lambda done: self._computed(batch, done))

    def _is_quick(self) -> bool:
        if self._typical < QUICK_SECONDS:
            return True
        see = self._typical < PERHAPS_QUICK_SECONDS and self._calls_in_thread >= SEE_EVERY
        if see:
            self._calls_in_thread, self._typical = 0, math.inf  # what this call takes counts alone
        return see

    def _computed(self, batch: list[_Waiting], work: asyncio.Future[list[Columns | Refused]]) -> None:
        self._busy = False
        if not work.cancelled():
            self._deliver(batch, work.result())

    def _deliver(self, batch: list[_Waiting], outcomes: list[Columns | Refused]) -> None:
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if waiting.answer.done():
                continue  # its client is gone, or it ran out of time
            if isinstance(outcome, Exception):
                waiting.answer.set_exception(outcome)
            else:
                waiting.answer.set_result(outcome)
        self._read_soon()

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        rows = 0
        while self._queue:
            waiting = self._queue[0]
            if batch and rows + waiting.count > self._max_batch:
                break
            self._queue.popleft()
            self._rows -= waiting.count
            if not waiting.answer.done():
                batch.append(waiting)
                rows += waiting.count
        return batch

    def _compute(self, requests: list[Columns]) -> list[Columns | Refused]:
        """Answer all requests by one call; when that raises, each by a call of its own, so that only the bad one fails."""
        began = time.perf_counter()
        try:
            return self._outcomes(requests)
        finally:
            took = time.perf_counter() - began
            self._typical = took if self._typical == math.inf else 0.8 * self._typical + 0.2 * took

    def _outcomes(self, requests: list[Columns]) -> list[Columns | Refused]:
        if len(requests) > 1:
            together = {name: np.concatenate([rows[name] for rows in requests]) for name in requests[0]}
            outcome = self._call(together)
            if not isinstance(outcome, Refused):
                return list(_split(outcome, [count(rows) for rows in requests]))
        return [self._call(rows) for rows in requests]

    def _call(self, rows: Columns) -> Columns | Refused:
        try:
            answers = self._answer(rows)
        except RecipeError as error:
            return refusal_of(error)
        except Exception as error:
            return Refused(500, f"the model raised {type(error).__name__}: {_one_line(error)}", INTERNAL)
        uneven = [name for name, values in answers.items() if len(values) != count(rows)]
        if uneven:
            return Refused(500, f"the recipe's answer {uneven[0]!r} has another number of rows", INTERNAL)
        return answers


def _split(answers: Columns, counts: list[int]) -> list[Columns]:
    parts: list[Columns] = []
    start = 0
    for length in counts:
        parts.append({name: values[start : start + length] for name, values in answers.items()})
        start += length
    return parts


def _one_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:300]
