"""The canary's state machine: state and counts in, state and decision out. No clock, no network, no store.

    shifting --(weight in force)--> observing --(next weight)--> shifting ...
                                        |
                                        +--(decided)--> finishing --(carried out)--> finished

A decision is written down (`shifting`, `finishing`) before it is acted on, and acting twice does no harm, so a
process may die between any two lines and another goes on from what is written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from chandlery.canary.decision.assessment import Assessment, RailEvidence, assess
from chandlery.canary.decision.early_end import VERDICTS, EarlyEnd
from chandlery.canary.decision.policy import ReleasePolicy
from chandlery.canary.decision.state import CanaryState, Epoch, EvidencePoint, Verdict
from chandlery.resources.counts import Counts, Metric

Action = Literal["wait", "shift", "finish"]
Health = Literal["ready", "unready", "failed"]

WORDS: dict[Metric, str] = {
    "wrong": "wrong answers",
    "errors": "errors",
    "slow": "slow answers",
    "refused": "refused requests",
}


@dataclass(frozen=True)
class NextAction:
    """The next action of the watcher.

    Attributes:
        action: `wait` and look again, `shift` to the weight of the state's stage, `finish` with the state's verdict.
        why: one line for the log.
    """

    action: Action
    why: str = ""


def begin(run: str, champion: str, challenger: str, policy: ReleasePolicy) -> CanaryState:
    """Return the state of a canary that is about to set its first weight."""
    return CanaryState(run=run, champion=champion, challenger=challenger, policy=policy)


def opened(state: CanaryState, counters: tuple[Counts, Counts]) -> CanaryState:
    """Return the state once the weight of its stage is in force: a new epoch with these counters as baseline.

    Args:
        state: a state that is shifting.
        counters: cumulative counters of champion and challenger.
    """
    epoch = Epoch(weight=state.weight, opened=state.elapsed)
    return state.with_(phase="observing", epochs=(*state.epochs, epoch), last=counters)


def reopened(state: CanaryState) -> CanaryState:
    """Return the state when another process changed the weight: the counts of that time belong to no epoch."""
    return state.with_(phase="shifting")


def observe(
    state: CanaryState, counters: tuple[Counts, Counts], elapsed: float, health: Health, detail: str = ""
) -> tuple[CanaryState, NextAction, Assessment]:
    """Take in what was counted and decide.

    Args:
        state: a state that is observing.
        counters: cumulative counters of champion and challenger.
        elapsed: seconds under observation until now.
        health: what the deployment says of the challenger.
        detail: what it says of a challenger that failed.

    Returns:
        the state after the look, what to do, and the evidence.
    """
    state = _count(state, counters, elapsed, health)
    evidence = assess(state.epochs, state.policy)
    proven = state.proven or evidence.log_promote >= state.policy.promote_threshold
    state = state.with_(proven=proven).remember(_evidence_point(state, evidence))
    state, decision = _decide(state, evidence, health, detail)
    return state, decision, evidence


def finished(state: CanaryState) -> CanaryState:
    """Return the state once its verdict has been carried out."""
    return state.with_(phase="finished")


def conclude(state: CanaryState, verdict: Verdict, reason: str) -> CanaryState:
    """Return the state with a verdict that is yet to be carried out."""
    return state.with_(phase="finishing", verdict=verdict, reason=reason)


def ended_early(state: CanaryState, request: EarlyEnd) -> CanaryState:
    """Return the state with the verdict that a person asked for, yet to be carried out."""
    reason = (
        f"ended early by {request.person}: {request.reason} "
        f"(after {state.elapsed:.0f} s at up to {state.weight} %; {comparison(state, state.policy.primary)})"
    )
    return conclude(state, VERDICTS[request.decision], reason).with_(ended_by=request.person)


def _count(
    state: CanaryState, counters: tuple[Counts, Counts], elapsed: float, health: Health
) -> CanaryState:
    epoch, policy = state.epochs[-1], state.policy
    # The interval that ends now began at the previous look; only if it began after the grace is all of it clean.
    clean = state.elapsed - epoch.opened >= policy.grace_seconds
    clean_labels = state.elapsed - epoch.opened >= max(policy.label_grace_seconds, policy.grace_seconds)

    def counted(now: Counts, before: Counts) -> Counts:
        new = now.since(before)
        return (new.requests_only() if clean else Counts()) + (
            new.labels_only() if clean_labels else Counts()
        )

    grown = Epoch(
        weight=epoch.weight,
        opened=epoch.opened,
        champion=epoch.champion + counted(counters[0], state.last[0]),
        challenger=epoch.challenger + counted(counters[1], state.last[1]),
    )
    unready_since = -1.0
    if health == "unready":
        unready_since = state.unready_since if state.unready_since >= 0 else elapsed
    return state.with_(
        epochs=(*state.epochs[:-1], grown), last=counters, elapsed=elapsed, unready_since=unready_since
    )


def _decide(
    state: CanaryState, evidence: Assessment, health: Health, detail: str
) -> tuple[CanaryState, NextAction]:
    verdict, reason = _verdict(state, evidence, health, detail)
    if verdict:
        return conclude(state, verdict, reason), NextAction("finish", reason)
    policy = state.policy
    hold = _why_hold(state, evidence)
    if hold:
        return state, NextAction("wait", hold)
    following = policy.weights[state.stage + 1]
    if following < 100:
        why = f"{state.weight} % held without alarm: {state.challenger} to {following} %"
        return state.with_(phase="shifting", stage=state.stage + 1), NextAction("shift", why)
    if not state.proven:
        return state, NextAction(
            "wait", f"at the last weight before 100 %, not proven yet on {WORDS[policy.primary]}"
        )
    reason = _promotion_reason(state, evidence)
    return conclude(state, "promoted", reason), NextAction("finish", reason)


def _verdict(state: CanaryState, evidence: Assessment, health: Health, detail: str) -> tuple[Verdict, str]:
    policy, challenger = state.policy, state.challenger
    if health == "failed":
        return "rolled_back", f"{challenger} failed: {detail or 'as the deployment reports'}"
    waited = state.elapsed - state.unready_since
    if state.unready_since >= 0 and waited >= policy.unready_seconds:
        return (
            "rolled_back",
            f"{challenger} was not ready for {waited:.0f} s{': ' + detail if detail else ''}",
        )
    mismatch = _mismatch_reason(state, evidence)
    if mismatch:
        return "inconclusive", mismatch
    alarms = [rail for rail in evidence.rails if rail.alarm]
    if alarms:
        rail = max(alarms, key=lambda r: r.log_rollback)
        return "rolled_back", _rollback_reason(state, rail)
    if state.elapsed >= policy.deadline_seconds:
        return "inconclusive", _deadline_reason(state, evidence)
    return "", ""


def _why_hold(state: CanaryState, evidence: Assessment) -> str:
    policy, epoch = state.policy, state.epochs[-1]
    seen = epoch.challenger.trials("wrong" if policy.primary == "wrong" else "errors")
    if seen < policy.minimum_requests:
        what = "judged answers" if policy.primary == "wrong" else "requests"
        return f"{seen} of {policy.minimum_requests} {what} of {state.challenger} at {state.weight} %"
    # More exposure only while the evidence against is below half way, in logs, to a rollback.
    worst = evidence.worst
    if worst.matters and worst.log_rollback > policy.rollback_threshold / 2:
        return f"holding {state.weight} %: {WORDS[worst.metric]} speak against {state.challenger}"
    return ""


def _evidence_point(state: CanaryState, evidence: Assessment) -> EvidencePoint:
    champion, challenger = state.totals()
    return EvidencePoint(
        at=round(state.elapsed, 2),
        weight=state.weight,
        promote=round(evidence.log_promote, 3),
        rollback={rail.metric: round(rail.log_rollback, 3) for rail in evidence.rails},
        requests=champion.requests + challenger.requests,
    )


def comparison(state: CanaryState, metric: Metric) -> str:
    """Return both variants' rates of a metric as text, with the counts."""
    champion, challenger = state.totals()

    def text(name: str, tally: Counts) -> str:
        rate = 100 * tally.rate(metric)
        return f"{name} {rate:{'.2g' if rate < 99.5 else '.0f'}} % ({tally.bad(metric)} of {tally.trials(metric)})"

    return f"{text(state.challenger, challenger)} against {text(state.champion, champion)}"


def e_value(log: float) -> str:
    """Return an e-value as text, three digits, or the power of ten when it is huge or tiny."""
    if abs(log) > math.log(1e6):
        return f"1e{log / math.log(10):+.0f}"
    value = math.exp(log)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _promotion_reason(state: CanaryState, evidence: Assessment) -> str:
    policy = state.policy
    return (
        f"{WORDS[policy.primary]}: {comparison(state, policy.primary)}; {policy.margin:g} times as many is ruled out "
        f"(e-value reached {e_value(max(look.promote for look in state.looks))}, needed {1 / policy.beta:.3g}), "
        f"no guard-rail alarmed"
    )


def _rollback_reason(state: CanaryState, rail: RailEvidence) -> str:
    return (
        f"{WORDS[rail.metric]}: {comparison(state, rail.metric)}; e-value {e_value(rail.log_rollback)} that "
        f"{state.challenger} is worse, {e_value(state.policy.rollback_threshold)} is enough"
    )


def _mismatch_reason(state: CanaryState, evidence: Assessment) -> str:
    champion, challenger = state.totals()
    threshold = state.policy.mismatch_threshold
    for what, log, ours, theirs in (
        ("requests", evidence.log_mismatch, challenger.requests, champion.requests),
        ("judged answers", evidence.log_label_mismatch, challenger.judged, champion.judged),
    ):
        if log >= threshold:
            weights = ", ".join(f"{epoch.weight} %" for epoch in state.epochs)
            return (
                f"sample ratio: {state.challenger} got {ours} of {ours + theirs} {what} at weights {weights} "
                f"(e-value {e_value(log)}, alarm at {e_value(threshold)}); no rate can be compared"
            )
    return ""


def _deadline_reason(state: CanaryState, evidence: Assessment) -> str:
    policy = state.policy
    needed = f"{1 / policy.beta:.3g}"
    if state.proven:
        _, challenger = state.totals()
        what = f"proven, but the walk stopped at {state.weight} % after {challenger.requests} requests of {state.challenger}"
    elif not sum(tally.trials(policy.primary) for tally in state.totals()):
        missing = "feedback" if policy.primary == "wrong" else "traffic"
        what = f"no {missing} arrived, so nothing is known of {WORDS[policy.primary]}"
    else:
        what = (
            f"{WORDS[policy.primary]}: {comparison(state, policy.primary)}; e-value {e_value(evidence.log_promote)} for "
            f"promotion, needed {needed}"
        )
    return f"no decision within {policy.deadline_seconds:g} s: {what}"
