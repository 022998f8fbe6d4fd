"""Micro-batching: requests that arrive while the model is busy are answered together by its next call.

Callers take turns: of each the next request, so that one who sends many at once does not push the others back. A request
with more rows than a batch is cut. Each call takes a slice of one such request at most, of rows that are computed in a few
milliseconds, beside the smaller requests that wait; so these wait for one call, and not for the whole of it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
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
# What a slice of a large request may take: others wait for as long.
SLICE_SECONDS = 0.02
LARGEST_SLICE = 8192  # rows


@dataclass(eq=False, slots=True)
class _Waiting:
    rows: Columns
    count: int
    caller: str
    expires: float  # on the loop's clock
    answer: asyncio.Future[Columns] = field(repr=False)
    taken: int = 0  # rows that a call has been given
    parts: list[Columns] = field(default_factory=list)  # answers of the slices so far


@dataclass(eq=False, slots=True)
class _Slice:
    """The rows of one request that go into one call."""

    waiting: _Waiting
    rows: Columns
    count: int


class Batcher:
    """One queue in front of one model. All methods belong to one event loop.

    Args:
        answer: the model: n raw rows to n answers; one call at a time, in a thread of its own unless it is quick.
        max_batch: most rows of a call, but for slices of larger requests.
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
        self._queues: dict[str, deque[_Waiting]] = {}  # by caller, none of them empty
        self._turns: deque[str] = deque()  # the callers of `_queues`, whose turn it is first
        self._large: deque[_Waiting] = deque()  # requests of more rows than a batch, whose turn it is first
        self._length = 0  # requests in all queues
        self._due: list[tuple[float, int, _Waiting]] = []  # a heap by expiry, answered ones among them
        self._number = itertools.count()  # where two expire together
        # one timer for all: one for each would cost more than its answer
        self._expiry: asyncio.TimerHandle | None = None
        self._expiry_at = math.inf
        self._rows = 0  # rows in the queues
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._busy = False  # a call is under way in the thread
        self._next: asyncio.Handle | None = None  # the next look at the queue
        self._seen = 0  # requests that waited when the queue was last looked at
        self._together = 1  # requests of the last call
        self._typical = math.inf  # seconds of a call, recent ones counting most
        self._calls_in_thread = 0
        self._slice = max_batch  # rows of a large request that the next call may take

    async def stop(self) -> None:
        """Stop answering; requests that still wait are refused."""
        for handle in (self._next, self._expiry):
            if handle is not None:
                handle.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)
        for queue in (self._large, *self._queues.values()):
            for waiting in queue:
                _refuse(waiting, Refused(503, "the server is stopping", "STOPPING", retry_after=1))
        self._queues.clear()
        self._turns.clear()
        self._large.clear()
        self._length = self._rows = 0

    def __len__(self) -> int:
        """Return the number of requests that wait."""
        return self._length

    async def submit(self, rows: Columns, caller: str = "", within: float = math.inf) -> Columns:
        """Return the answers for the rows of one request.

        Args:
            rows: the raw rows.
            caller: who asks; callers take turns.
            within: seconds in which the caller wants the answer; later it is not computed any more.

        Raises:
            Refused: the queue is full (503), it took too long (504), or the recipe raised (400 or 500).
        """
        if self._length >= self._max_queue:
            raise Refused(503, f"{self._max_queue} requests are waiting already", "QUEUE_FULL", retry_after=1)
        loop = asyncio.get_running_loop()
        expires = loop.time() + min(self._timeout, within)
        waiting = _Waiting(rows, count(rows), caller, expires, loop.create_future())
        queue = self._large if waiting.count > self._max_batch else self._queues.get(caller)
        if queue is None:
            queue = self._queues[caller] = deque()
            self._turns.append(caller)
        queue.append(waiting)
        self._length += 1
        self._rows += waiting.count
        self._read_soon()
        self._forget_answered()
        heapq.heappush(self._due, (expires, next(self._number), waiting))
        if expires < self._expiry_at:
            self._look_at(expires)
        return await waiting.answer

    def _forget_answered(self) -> None:
        due = self._due
        while due and due[0][2].answer.done():
            heapq.heappop(due)

    def _look_at(self, when: float) -> None:
        """Have `_expire` called at a time, and not before."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry_at = when
        self._expiry = asyncio.get_running_loop().call_at(when, self._expire)

    def _expire(self) -> None:
        """Refuse those that have waited too long, and come back when the next is due."""
        now = asyncio.get_running_loop().time()
        self._expiry, self._expiry_at = None, math.inf
        self._forget_answered()
        while self._due and self._due[0][0] <= now:
            _refuse(heapq.heappop(self._due)[2], self._late())
            self._forget_answered()
        if self._due:
            self._look_at(self._due[0][0])

    def _late(self) -> Refused:
        return Refused(
            504, f"no answer within {self._timeout:g} s, or the time that the caller gave", "TIMEOUT"
        )

    def _read_soon(self) -> None:
        """Have the queue looked at: once no more requests come in by themselves, or when it is time for a batch."""
        if self._busy or not self._length:
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
        if self._length > self._seen and self._rows < self._max_batch:
            self._seen = self._length
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
        rows = sum(part.count for part in batch)
        self._together = len(batch)
        self._observe(rows)
        requests = [part.rows for part in batch]
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

    def _computed(self, batch: list[_Slice], work: asyncio.Future[list[Columns | Refused]]) -> None:
        self._busy = False
        if not work.cancelled():
            self._deliver(batch, work.result())

    def _deliver(self, batch: list[_Slice], outcomes: list[Columns | Refused]) -> None:
        for part, outcome in zip(batch, outcomes, strict=True):
            waiting = part.waiting
            if waiting.answer.done():
                continue  # its client is gone, or it ran out of time
            if isinstance(outcome, Exception):
                waiting.answer.set_exception(outcome)
            elif part.count == waiting.count:
                waiting.answer.set_result(outcome)
            else:
                waiting.parts.append(outcome)
                if sum(count(answered) for answered in waiting.parts) == waiting.count:
                    waiting.answer.set_result(_joined(waiting.parts))
        self._read_soon()

    def _next_batch(self) -> list[_Slice]:
        """Take the rows of the next call: of each caller in turn the next request, and a slice of a large one."""
        batch: list[_Slice] = []
        rows = 0
        now = asyncio.get_running_loop().time()
        while self._turns:
            caller = self._turns[0]
            queue = self._queues[caller]
            waiting = queue[0]
            wanted = self._wanted(waiting, now)
            if wanted and rows + waiting.count > self._max_batch:
                break
            queue.popleft()
            self._length -= 1
            self._rows -= waiting.count
            if not queue:
                self._turns.popleft()
                del self._queues[caller]
            elif len(self._turns) > 1:
                self._turns.rotate(-1)
            if wanted:
                batch.append(_Slice(waiting, waiting.rows, waiting.count))
                rows += waiting.count
        large = self._slice_of_large(now) if self._large else None
        return batch if large is None else [*batch, large]

    def _wanted(self, waiting: _Waiting, now: float) -> bool:
        """Return whether somebody still waits for a request; what is late is refused, and not computed."""
        if waiting.expires <= now:
            _refuse(waiting, self._late())
        return not waiting.answer.done()

    def _slice_of_large(self, now: float) -> _Slice | None:
        while self._large:
            waiting = self._large[0]
            start = waiting.taken
            left = waiting.count - start
            wanted = self._wanted(waiting, now)
            size = min(self._slice, left) if wanted else left
            self._rows -= size
            if size == left:
                self._large.popleft()
                self._length -= 1
            else:
                self._large.rotate(-1)
            if wanted:
                waiting.taken = start + size
                rows = {name: values[start : start + size] for name, values in waiting.rows.items()}
                return _Slice(waiting, rows, size)
        return None

    def _compute(self, requests: list[Columns]) -> list[Columns | Refused]:
        """Answer all requests by one call; when that raises, each by a call of its own, so that only the bad one fails."""
        began = time.perf_counter()
        try:
            return self._outcomes(requests)
        finally:
            took = time.perf_counter() - began
            rows = sum(count(request) for request in requests)
            if rows >= self._max_batch:
                # Twice as many at most: the first calls, and those of a machine under load, say little.
                fitting = min(rows * SLICE_SECONDS / max(took, 1e-9), 2 * rows, LARGEST_SLICE)
                self._slice = max(self._max_batch, round(fitting))
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


def _joined(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _refuse(waiting: _Waiting, refusal: Refused) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(refusal)


def _one_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:300]
