"""A world for the loop: a deployment that splits traffic at random and counts what comes of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from chandlery.canary.decision.machine import Health
from chandlery.canary.decision.state import CanaryState
from chandlery.errors import PlatformError
from chandlery.resources.counts import Counts


@dataclass
class Rates:
    """Probabilities of bad events of one variant."""

    wrong: float = 0.0
    errors: float = 0.0
    slow: float = 0.0


class Killed(BaseException):
    """The process was killed: nothing that catches exceptions sees it."""


@dataclass
class FakeSide:
    """Implements `chandlery.canary.watch.port.Side`; time passes by waiting."""

    rates: dict[str, Rates]
    split: dict[str, int]
    requests_per_look: int = 200
    judged_share: float = 1.0
    seed: int = 1
    text: str = ""
    asked: str = ""
    true_share: float | None = None  # the gateway splits otherwise than told
    blind_looks: int = 0
    sick: dict[str, tuple[Health, str]] = field(default_factory=dict)
    kill_after: int = -1  # calls that change or read something, until the process dies
    acts: list[str] = field(default_factory=list)
    seen: dict[str, Counts] = field(default_factory=dict)
    now: float = 0.0
    seconds_per_look: float = 1.0

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng(self.seed)
        self.totals = {name: Counts() for name in self.rates}

    # --- the world

    def clock(self) -> float:
        return self.now

    def pass_time(self) -> None:
        self.now += self.seconds_per_look
        (first, *others), share = self.split, 0.0
        if others:
            share = self.split[others[0]] / 100 if self.true_share is None else self.true_share
        second = int(self.generator.binomial(self.requests_per_look, share))
        self._serve(first, self.requests_per_look - second)
        if others:
            self._serve(others[0], second)

    def _serve(self, name: str, count: int) -> None:
        rates = self.rates[name]
        judged = int(self.generator.binomial(count, self.judged_share))
        self.totals[name] += Counts(
            requests=count,
            errors=int(self.generator.binomial(count, rates.errors)),
            slow=int(self.generator.binomial(count, rates.slow)),
            judged=judged,
            wrong=int(self.generator.binomial(judged, rates.wrong)),
        )

    def _alive(self) -> None:
        if self.kill_after == 0:
            raise Killed
        self.kill_after -= 1

    # --- the side

    def weights(self) -> dict[str, int] | None:
        self._alive()
        return dict(self.split) or None

    def health(self, predictor: str) -> tuple[Health, str]:
        self._alive()
        return self.sick.get(predictor, ("ready", ""))

    def shift(self, weights: Mapping[str, int]) -> float:
        self._alive()
        self.acts.append(f"shift {' '.join(f'{k}={v}' for k, v in weights.items())}")
        assert set(weights) == set(self.split)
        assert sum(weights.values()) == 100
        self.split = dict(weights)
        self._alive()
        return 0.01

    def remove(self, predictor: str) -> None:
        self._alive()
        self.acts.append(f"remove {predictor}")
        if predictor in self.split and len(self.split) > 1:
            del self.split[predictor]
            self.split = dict.fromkeys(self.split, 100)
        self._alive()

    def counters(self, predictor: str) -> Counts:
        return self.seen.get(predictor, Counts())

    def refresh(self) -> None:
        self._alive()
        if self.blind_looks > 0:
            self.blind_looks -= 1
            raise PlatformError("the gateway is away")
        self.seen = dict(self.totals)

    def request(self) -> str:
        return self.asked

    def withdraw(self) -> None:
        self._alive()
        self.asked = ""

    def load(self) -> str:
        return self.text

    def store(self, text: str) -> None:
        self._alive()
        self.text = text
        self._alive()

    @property
    def state(self) -> CanaryState:
        return CanaryState.from_json(self.text)


class Waits(threading.Event):
    """An event whose wait takes no time here, while in the fake world a look's time passes."""

    def __init__(self, world: FakeSide) -> None:
        super().__init__()
        self.world = world

    def wait(self, timeout: float | None = None) -> bool:
        self.world.pass_time()
        return self.is_set()
