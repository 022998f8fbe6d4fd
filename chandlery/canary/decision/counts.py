"""What was counted of one variant, and how cumulative counters become differences."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Literal, Protocol

Metric = Literal["wrong", "errors", "slow"]
METRICS: tuple[Metric, ...] = ("wrong", "errors", "slow")


class Counters(Protocol):
    """Cumulative counters of one predictor, as the gateway or Prometheus gives them."""

    @property
    def requests(self) -> float: ...
    @property
    def errors(self) -> float: ...
    @property
    def slow(self) -> float: ...
    @property
    def judged(self) -> float: ...
    @property
    def wrong(self) -> float: ...


@dataclass(frozen=True)
class Tally:
    """Numbers of requests of one variant.

    Attributes:
        requests: predictions asked for.
        errors: of these, answered with a server error or not at all.
        slow: of these, answered later than the latency objective.
        judged: answers whose truth became known.
        wrong: of these, bad ones.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0
    judged: int = 0
    wrong: int = 0

    @classmethod
    def of(cls, counters: Counters) -> Tally:
        """Return the counters as whole numbers (Prometheus speaks in floats)."""
        return cls(**{f.name: round(getattr(counters, f.name)) for f in fields(cls)})

    def __add__(self, other: Tally) -> Tally:
        """Return the sum, field by field."""
        return Tally(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    def since(self, earlier: Tally) -> Tally:
        """Return what was counted after `earlier`; a counter that fell was reset, so all of it is new."""
        return Tally(
            **{
                name: value - getattr(earlier, name) if value >= getattr(earlier, name) else value
                for name, value in asdict(self).items()
            }
        )

    def requests_only(self) -> Tally:
        """Return the part that is known when a request ends."""
        return Tally(requests=self.requests, errors=self.errors, slow=self.slow)

    def labels_only(self) -> Tally:
        """Return the part that is known when feedback arrives."""
        return Tally(judged=self.judged, wrong=self.wrong)

    def bad(self, metric: Metric) -> int:
        """Return the number of bad events of a metric, never more than its trials."""
        # Two counters are read a moment apart, so an error may be there before its request.
        return min(int(getattr(self, metric)), self.trials(metric))

    def trials(self, metric: Metric) -> int:
        """Return how many chances there were for such an event."""
        return self.judged if metric == "wrong" else self.requests

    def rate(self, metric: Metric) -> float:
        """Return bad events per trial; 0 without trials."""
        trials = self.trials(metric)
        return self.bad(metric) / trials if trials else 0.0
