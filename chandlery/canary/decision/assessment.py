"""The evidence of all epochs: one number for each question, each against its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chandlery.canary.decision import evalue, sample_ratio
from chandlery.canary.decision.policy import ReleasePolicy
from chandlery.canary.decision.state import Epoch
from chandlery.resources.counts import Counts, Metric

# The promotion e-value is a weighted mean of two: "not `margin` times as bad" and "below the tolerable rate". The
# second speaks only where bad events are so rare that their ratio never will; it costs the first 10 % (log 0.1).
RELATIVE_SHARE = 0.9


@dataclass(frozen=True)
class RailEvidence:
    """One guard-rail.

    Attributes:
        metric: which.
        log_rollback: log e-value against "the challenger is not worse".
        matters: the challenger's rate is not below the tolerable one.
        alarm: it matters, and the e-value passed the threshold.
        champion: the champion's counts.
        challenger: the challenger's counts.
    """

    metric: Metric
    log_rollback: float
    matters: bool
    alarm: bool
    champion: Counts
    challenger: Counts


@dataclass(frozen=True)
class Assessment:
    """All evidence at one moment, natural logarithms of e-values.

    Attributes:
        rails: one for each guard-rail.
        log_promote: for promotion on the primary metric.
        log_mismatch: against the traffic split by the weights.
        log_label_mismatch: against the feedback split by the weights; 0 when wrong answers are not judged.
    """

    rails: tuple[RailEvidence, ...]
    log_promote: float
    log_mismatch: float
    log_label_mismatch: float

    def rail(self, metric: Metric) -> RailEvidence:
        """Return the evidence of one guard-rail."""
        return next(rail for rail in self.rails if rail.metric == metric)

    @property
    def worst(self) -> RailEvidence:
        """The guard-rail with most evidence against the challenger, first of those that matter."""
        return max(self.rails, key=lambda rail: (rail.matters, rail.log_rollback))


def assess(epochs: Sequence[Epoch], policy: ReleasePolicy) -> Assessment:
    """Weigh the counts of all epochs; e-values of epochs multiply, so their logs add."""
    champion, challenger = Counts(), Counts()
    for epoch in epochs:
        champion, challenger = champion + epoch.champion, challenger + epoch.challenger
    rails = []
    for rail in policy.guardrails:
        log_rollback = sum(_rollback(epoch, rail.metric, policy.design_effect) for epoch in epochs)
        matters = challenger.rate(rail.metric) >= rail.tolerable
        alarm = matters and log_rollback >= policy.rollback_threshold
        rails.append(RailEvidence(rail.metric, log_rollback, matters, alarm, champion, challenger))
    judges_labels = any(rail.metric == "wrong" for rail in policy.guardrails)
    return Assessment(
        rails=tuple(rails),
        log_promote=_promote(epochs, policy, challenger),
        log_mismatch=sum(
            _mismatch(e.challenger.requests, e.champion.requests, e.share, policy.design_effect)
            for e in epochs
        ),
        log_label_mismatch=sum(
            _mismatch(e.challenger.judged, e.champion.judged, e.share, policy.design_effect) for e in epochs
        )
        if judges_labels
        else 0.0,
    )


# Events that come together are fewer facts than their number suggests: each count is divided by the design effect.


def _rollback(epoch: Epoch, metric: Metric, together: float) -> float:
    bad = epoch.challenger.bad(metric)
    total = bad + epoch.champion.bad(metric)
    return float(evalue.log_rollback(bad / together, total / together, epoch.share))


def _promote(epochs: Sequence[Epoch], policy: ReleasePolicy, challenger: Counts) -> float:
    metric, together = policy.primary, policy.design_effect
    relative = 0.0
    for epoch in epochs:
        bad = epoch.challenger.bad(metric)
        relative += float(
            evalue.log_promote(
                bad / together, (bad + epoch.champion.bad(metric)) / together, epoch.share, policy.margin
            )
        )
    tolerable = policy.rail(metric).tolerable
    if not tolerable:
        return relative
    # The challenger's own rate does not depend on the weight: one sequence over all epochs, half a prior event.
    absolute = float(
        evalue.log_below(
            challenger.bad(metric) / together,
            challenger.trials(metric) / together,
            tolerable,
            weight=0.5 / tolerable,
        )
    )
    return evalue.log_mean([relative, absolute], [RELATIVE_SHARE, 1 - RELATIVE_SHARE])


def _mismatch(challenger: int, champion: int, share: float, together: float) -> float:
    return float(sample_ratio.log_mismatch(challenger / together, (challenger + champion) / together, share))
