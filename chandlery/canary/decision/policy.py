"""The policy of a release: what it must show, and the error budgets of the decision."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chandlery.errors import UserError
from chandlery.resources.counts import METRICS, Metric

# A rate of bad events that is acceptable, whatever the champion's is.
TOLERABLE: dict[Metric, float] = {"wrong": 0.001, "errors": 0.001, "slow": 0.01, "refused": 0.001}


@dataclass(frozen=True)
class Guardrail:
    """One kind of bad event that the challenger must not have more of than the champion.

    Attributes:
        metric: `wrong` answers, `errors` (HTTP status 500 and above), `slow` answers or `refused` requests (the
            other statuses from 400).
        tolerable: rate (bad events per trial) below which the challenger's bad events never cause a rollback, and
            which, once the challenger's rate is proven to be below it, is enough for a promotion; 0 for none.
    """

    metric: Metric
    tolerable: float


@dataclass(frozen=True)
class ReleasePolicy:
    """How a canary is walked and judged.

    Attributes:
        weights: the challenger's shares of traffic in percent, rising, the last 100.
        alpha: budget for rolling back a challenger that is not worse, over all guard-rails together.
        beta: budget for promoting a challenger whose rate of bad events is `margin` times the champion's or more.
        margin: rate ratio that a promotion must exclude, > 1.
        primary: the metric on which a promotion must prove it.
        guardrails: the metrics that can roll back; alpha is split evenly between them. The primary is one of them.
        srm_alpha: budget for taking a right traffic split for a wrong one.
        deadline_seconds: time under observation after which the canary ends as inconclusive.
        minimum_requests: requests of the challenger (judged ones, when the primary is `wrong`) at a weight before the
            next one.
        look_seconds: time between looks; the guarantees do not depend on it.
        grace_seconds: time after a weight change whose counts are discarded: requests under way, cold caches.
        label_grace_seconds: the same for feedback; at least as long as labels take to arrive.
        unready_seconds: time that the challenger may be not ready before it is rolled back.
        design_effect: how many requests make one independent fact, >= 1: sum of squares over sum of the sizes of
            the sessions that fail or succeed as a whole; 1 where requests are independent.
    """

    weights: tuple[int, ...] = (5, 25, 50, 100)
    alpha: float = 0.05
    beta: float = 0.05
    margin: float = 2.0
    primary: Metric = "wrong"
    guardrails: tuple[Guardrail, ...] = tuple(Guardrail(metric, TOLERABLE[metric]) for metric in METRICS)
    srm_alpha: float = 0.001
    deadline_seconds: float = 600.0
    minimum_requests: int = 50
    look_seconds: float = 1.0
    grace_seconds: float = 1.0
    label_grace_seconds: float = 2.0
    unready_seconds: float = 10.0
    design_effect: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a policy that cannot be followed."""
        steps = list(self.weights)
        if len(steps) < 2 or steps != sorted(set(steps)) or steps[0] < 1 or steps[-1] != 100:
            raise UserError(
                f"canary weights {steps}", "rising whole percentages that end in 100, such as 5, 25, 50, 100"
            )
        for name in ("alpha", "beta", "srm_alpha"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(
                    f"canary {name} is {getattr(self, name)}", "a probability between 0 and 1, such as 0.05"
                )
        if self.margin <= 1:
            raise UserError(
                f"canary margin is {self.margin}", "the rate ratio to exclude is greater than 1, such as 2"
            )
        metrics = [rail.metric for rail in self.guardrails]
        unknown = sorted({*metrics, self.primary} - set(METRICS))
        if unknown:
            raise UserError(
                f"canary metric {unknown[0]!r} is unknown", f"valid metrics: {', '.join(METRICS)}"
            )
        if self.primary == "refused":
            raise UserError(
                "canary primary 'refused': callers who send nonsense would decide the release",
                "valid primaries: wrong, errors, slow",
            )
        if len(set(metrics)) != len(metrics) or self.primary not in metrics:
            raise UserError(
                f"canary guard-rails {metrics}: each once, and the primary {self.primary!r} among them",
                f"valid metrics: {', '.join(METRICS)}",
            )
        if any(not 0 <= rail.tolerable < 1 for rail in self.guardrails):
            raise UserError("canary: a tolerable rate lies between 0 and 1", "0 switches it off")
        if not 1 <= self.design_effect < math.inf:
            raise UserError(
                f"canary design effect is {self.design_effect}",
                "requests per independent fact, 1 or more; 1 where requests are independent",
            )
        if self.deadline_seconds <= 0 or self.look_seconds <= 0:
            raise UserError("canary: deadline and look interval are positive", "in seconds")

    @property
    def rollback_threshold(self) -> float:
        """Log e-value at which one guard-rail rolls back: Bonferroni over the guard-rails."""
        return math.log(len(self.guardrails) / self.alpha)

    @property
    def promote_threshold(self) -> float:
        """Log e-value at which the primary metric is proven."""
        return math.log(1 / self.beta)

    @property
    def mismatch_threshold(self) -> float:
        """Log e-value at which traffic (or feedback) counts as not split by the weights."""
        return math.log(2 / self.srm_alpha)  # requests and labels are checked: half the budget each

    def rail(self, metric: Metric) -> Guardrail:
        """Return the guard-rail of a metric."""
        return next(rail for rail in self.guardrails if rail.metric == metric)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ReleasePolicy:
        """Return the policy of a JSON form."""
        rails = tuple(Guardrail(**rail) for rail in values["guardrails"])
        return cls(**{**values, "weights": tuple(values["weights"]), "guardrails": rails})


def guardrails(metrics: Iterable[str], tolerable: Mapping[str, float] | None = None) -> tuple[Guardrail, ...]:
    """Return guard-rails on `metrics`, with the default tolerable rates where none is given.

    Raises:
        UserError: a metric is unknown.
    """
    chosen: list[Guardrail] = []
    for name in metrics:
        metric = next((known for known in METRICS if known == name), None)
        if metric is None:
            raise UserError(f"canary metric {name!r} is unknown", f"valid metrics: {', '.join(METRICS)}")
        chosen.append(Guardrail(metric, float((tolerable or {}).get(metric, TOLERABLE[metric]))))
    return tuple(chosen)
