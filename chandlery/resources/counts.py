"""Counts of one variant's requests, and differences of cumulative counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Metric = Literal["wrong", "errors", "slow", "refused"]
METRICS: tuple[Metric, ...] = ("wrong", "errors", "slow", "refused")


@dataclass(frozen=True)
class Counts:
    """Numbers of requests of one variant.

    Attributes:
        requests: predictions asked for, failed ones included.
        errors: of these, answered with HTTP status 500 or above (also by the gateway in its place), 408 or 429.
        slow: of these, answered later than the latency objective.
        judged: answers whose truth became known.
        wrong: of these, bad ones.
        refused: requests answered with another status from 400: what the caller asked cannot be answered.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0
    judged: int = 0
    wrong: int = 0
    refused: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Return the sum, field by field."""
        return Counts(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    def since(self, earlier: Counts) -> Counts:
        """Return what was counted after `earlier`; a counter that fell was reset, so all of it is new."""
        return Counts(
            **{
                name: value - getattr(earlier, name) if value >= getattr(earlier, name) else value
                for name, value in asdict(self).items()
            }
        )

    def requests_only(self) -> Counts:
        """Return the part that is known when a request ends."""
        return Counts(requests=self.requests, errors=self.errors, slow=self.slow, refused=self.refused)

    def labels_only(self) -> Counts:
        """Return the part that is known when feedback arrives."""
        return Counts(judged=self.judged, wrong=self.wrong)

    def bad(self, metric: Metric) -> int:
        """Return the number of bad events of a metric, never more than its trials."""
        # Two counters are read a moment apart, so an error may be there before its request.
        return min(int(getattr(self, metric)), self.trials(metric))

    def trials(self, metric: Metric) -> int:
        """Return how many chances there were for such an event."""
        if metric == "wrong":
            return self.judged
        # A refused request was no chance of an error: callers' mistakes must not make a server look reliable.
        return self.requests - min(self.refused, self.requests) if metric == "errors" else self.requests

    def rate(self, metric: Metric) -> float:
        """Return bad events per trial; 0 without trials."""
        trials = self.trials(metric)
        return self.bad(metric) / trials if trials else 0.0
