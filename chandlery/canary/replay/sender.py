"""Replays labelled rows against an endpoint, and sends feedback on each answer.

Rows, labels and the judgement `wrong` come from the recipe of the version that is in force, so that a challenger is
never judged by a yardstick of its own. Rows of the repo that models are trained on are used only where they belong to
the test split: neither version was trained on them. They are drawn with replacement, so requests are independent
given the rows.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.arrays import count, pick
from chandlery.errors import ChandleryError, DeadlineError, RecipeError, ServingError, UserError
from chandlery.recipe import Columns, Recipe, guarded, part_of, take

if TYPE_CHECKING:
    from chandlery.deployments.client import Answer, AsyncEndpoint

PARTS = ("auto", "test", "validation", "train", "all")
CONCURRENCY = 32
_LATE_SECONDS = 1.0  # behind schedule by more than this, the replay gives up catching up
_JOIN_SECONDS = 60.0


@dataclass(frozen=True)
class Traffic:
    """Labelled rows to replay.

    Attributes:
        requests: columns of n rows without the target.
        truth: the target of each row; several by name.
        recipe: the recipe in force.
    """

    requests: Columns
    truth: Any
    recipe: Recipe

    def __len__(self) -> int:
        """Return the number of rows."""
        return count(self.truth)


TrafficLoader = Callable[[str], Traffic]  # a model version -> the rows, judged by its recipe


@dataclass
class PredictorAnswers:
    """Answers of one predictor.

    Attributes:
        answers: requests that it answered.
        wrong: of these, bad ones.
    """

    answers: int = 0
    wrong: int = 0


@dataclass
class Replayed:
    """Result of a replay.

    Attributes:
        sent: requests sent.
        failed: not answered with HTTP status 200.
        unjudged: answered, but the feedback was not taken.
        late: requests put off because the endpoint did not keep up with the rate.
        seconds: how long it took.
        latencies: seconds of each answer.
        variants: by predictor.
        errors: the first few things that went wrong, as text.
    """

    sent: int = 0
    failed: int = 0
    unjudged: int = 0
    late: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    variants: dict[str, PredictorAnswers] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def quantile(self, level: float) -> float:
        """Return a quantile of the latencies in seconds; 0 without answers."""
        return float(np.quantile(self.latencies, level)) if self.latencies else 0.0

    def note(self, error: str) -> None:
        """Keep what went wrong, up to five different texts."""
        if error not in self.errors and len(self.errors) < 5:
            self.errors.append(error)


def choose(recipe: Recipe, rows: Columns, part: str, origin: str) -> Traffic:
    """Return the rows of one part as traffic."""
    if part != "all" and count(rows):
        rows = take(rows, part_of(recipe, rows) == part)
    if not count(rows):
        raise UserError(
            f"replay: {origin} has no rows in its {part} part", "replay another part, or other data"
        )
    requests = {name: column for name, column in rows.items() if name not in recipe.targets()}
    return Traffic(requests, recipe.truth(rows), recipe)


class Replay:
    """Sends traffic until `stop` is set or it has sent enough."""

    def __init__(
        self,
        endpoint: AsyncEndpoint,
        traffic: Traffic,
        rate: float,
        *,
        seed: int = 0,
        concurrency: int = CONCURRENCY,
        limit: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """Prepare a replay.

        Args:
            endpoint: where to; not opened yet.
            traffic: what to send.
            rate: requests per second on average, at random moments (open loop); 0: each connection sends its next
                request when the answer to the last one has come (closed loop).
            seed: for the rows drawn and the moments.
            concurrency: requests under way at most; a slow endpoint gets fewer requests, not more connections.
            limit: requests to send at most; 0 for no limit.
            seconds: time to send for at most; 0 for no limit.
        """
        if rate < 0 or concurrency < 1:
            raise UserError(
                f"replay: rate {rate:g} at {concurrency} connections",
                "a rate of 0 or more, at least 1 connection",
            )
        self._endpoint = endpoint
        self._traffic = traffic
        self._rate = rate
        self._concurrency = concurrency
        self._limit = limit
        self._seconds = seconds
        self._generator = np.random.default_rng(seed)
        self.result = Replayed()

    async def run(self, stop: threading.Event) -> Replayed:
        """Send until `stop` is set, the limit or the time is reached; wait for what is under way."""
        loop = asyncio.get_running_loop()
        began = due = loop.time()
        free = asyncio.Semaphore(self._concurrency)
        under_way: set[asyncio.Task[None]] = set()
        async with self._endpoint:
            while not stop.is_set() and not self._enough(loop.time() - began):
                now = loop.time()
                if due > now:
                    await asyncio.sleep(min(due - now, 0.1))
                    continue
                if self._rate and now - due > _LATE_SECONDS:
                    self.result.late += round((now - due) * self._rate)
                    due = now
                await free.acquire()
                task = asyncio.create_task(self._one(int(self._generator.integers(len(self._traffic)))))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                task.add_done_callback(lambda _: free.release())
                self.result.sent += 1
                due += self._generator.exponential(1 / self._rate) if self._rate else 0.0
            if under_way:
                await asyncio.gather(*under_way)
        self.result.seconds = loop.time() - began
        return self.result

    def _enough(self, elapsed: float) -> bool:
        return bool(self._limit and self.result.sent >= self._limit) or bool(
            self._seconds and elapsed >= self._seconds
        )

    async def _one(self, row: int) -> None:
        request = {name: column[row : row + 1] for name, column in self._traffic.requests.items()}
        try:
            answer = await self._endpoint.predict(request)
        except (ServingError, DeadlineError) as error:
            self.result.failed += 1
            self.result.note(error.message)
            return
        if not answer.ok:
            self.result.failed += 1
            self.result.note(f"HTTP {answer.status}: {answer.error}")
            return
        wrong = self._is_wrong(answer, pick(self._traffic.truth, row))
        self.result.latencies.append(answer.seconds)
        variant = self.result.variants.setdefault(answer.route or "unknown", PredictorAnswers())
        variant.answers += 1
        variant.wrong += wrong
        await self._send_feedback(answer, wrong)

    def _is_wrong(self, answer: Answer, truth: Any) -> bool:
        first = next(iter(answer.answers.values()), np.empty(0))
        if not len(first):
            return True
        try:
            if isinstance(truth, dict):
                predicted = {name: _plain(values[0]) for name, values in answer.answers.items()}
                actual = {name: _plain(value) for name, value in truth.items()}
                return bool(guarded(self._traffic.recipe, "wrong", predicted, actual))
            return bool(guarded(self._traffic.recipe, "wrong", _plain(first[0]), _plain(truth)))
        except RecipeError as error:
            # An answer that the yardstick in force cannot even read is a bad one.
            self.result.note(error.message)
            return True

    async def _send_feedback(self, answer: Answer, wrong: bool) -> None:
        # A reward and not the truth: a server that gets the truth judges by its own recipe.
        try:
            status = await self._endpoint.feedback(answer, reward=0.0 if wrong else 1.0)
        except (ServingError, DeadlineError) as error:
            self.result.unjudged += 1
            self.result.note(error.message)
            return
        if status >= 300:
            self.result.unjudged += 1
            self.result.note(f"feedback: HTTP {status}")


class ReplayThread:
    """A replay beside something else; use as `with`, which stops it at the end."""

    def __init__(self, replay: Replay, on_failure: Callable[[], None]) -> None:
        """Prepare; `on_failure` is called from the thread when the replay cannot go on."""
        self._replay = replay
        self._on_failure = on_failure
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self.error: ChandleryError | None = None

    def __enter__(self) -> ReplayThread:
        """Start it."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and wait for the requests under way."""
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)

    @property
    def result(self) -> Replayed:
        """Its result so far."""
        return self._replay.result

    def _run(self) -> None:
        try:
            asyncio.run(self._replay.run(self._stop))
        except Exception as error:
            self.error = ServingError(
                f"replay stopped: {type(error).__name__}: {error}", "run the same again: the canary goes on"
            )
            self._on_failure()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
