"""Micro-batching: requests that arrive while the model is busy are answered together by its next call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from chandlery.errors import RecipeError
from chandlery.recipe import Columns
from chandlery.server.model import count
from chandlery.server.refusal import INTERNAL, Refused


@dataclass(eq=False)
class _Waiting:
    rows: Columns
    count: int
    answer: asyncio.Future[Columns] = field(repr=False)


class Batcher:
    """One queue in front of one model. All methods belong to one event loop.

    Args:
        answer: the model: n raw rows to n answers; runs in a thread of its own, one call at a time.
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
        self._rows = 0  # rows in the queue
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer; call inside the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop answering; whoever still waits is refused."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
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
        waiting = _Waiting(rows, count(rows), asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._rows += waiting.count
        self._arrived.set()
        try:
            async with asyncio.timeout(self._timeout):
                return await waiting.answer
        except TimeoutError:
            raise Refused(504, f"no answer within {self._timeout:g} s", "TIMEOUT") from None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if self._max_wait > 0:
                await self._gather()
            batch = self._take()
            if not self._queue:
                self._arrived.clear()
            if not batch:
                continue
            self._observe(sum(waiting.count for waiting in batch))
            outcomes = await loop.run_in_executor(
                self._thread, self._compute, [waiting.rows for waiting in batch]
            )
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if waiting.answer.done():
                    continue  # its client is gone, or it ran out of time
                if isinstance(outcome, Exception):
                    waiting.answer.set_exception(outcome)
                else:
                    waiting.answer.set_result(outcome)

    async def _gather(self) -> None:
        """Wait until a batch is full or the time is up."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._max_wait
        while self._rows < self._max_batch and loop.time() < until:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), until - loop.time())
            except TimeoutError:
                break

    def _take(self) -> list[_Waiting]:
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
            return Refused(400, f"{error.message}; {error.hint}" if error.hint else error.message)
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
