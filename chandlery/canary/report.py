"""The canary's HTML report: the evidence as it grew, what it is made of, and the verdict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chandlery.canary.decision.assessment import assess
from chandlery.canary.decision.machine import WORDS, e_value
from chandlery.canary.decision.state import CanaryState
from chandlery.canary.replay.sender import Replayed
from chandlery.canary.watch.watcher import Watched
from chandlery.provenance import Provenance
from chandlery.report import BAD, GOOD, PALETTE, Report, axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS = {"promoted": "good", "rolled_back": "bad"}
_FLOOR = -3.0  # log10 e-values below this say "no evidence at all" equally well


def canary_page(title: str, outcome: Watched, record: Provenance, replayed: Replayed | None = None) -> Report:
    """Return the report of a canary.

    Args:
        title: what was released where.
        outcome: how it ended.
        record: where the challenger came from.
        replayed: what the replay beside it did, if there was one.
    """
    page = Report(title, "canary release, judged by evidence that stays valid at every look")
    kind = _KINDS.get(outcome.verdict, "neutral")
    page.verdict(f"{outcome.verdict.replace('_', ' ')}: {outcome.reason}", kind)  # type: ignore[arg-type]
    state = outcome.state
    if state is not None:
        if state.looks:
            page.figure("Evidence over time", evidence_figure(state), _caption(state))
        _evidence_table(page, state)
        _counts_table(page, state)
    if replayed is not None:
        page.facts("Replayed traffic", replay_facts(replayed))
    return page.provenance(record)


def evidence_figure(state: CanaryState) -> Figure:
    """Return the plot of log10 e-values over time, weights shaded, both thresholds dashed."""
    figure, (ax,) = axes()
    policy = state.policy
    times = [look.at for look in state.looks]
    end = max(times[-1], 1e-9)
    for index, epoch in enumerate(state.epochs):
        until = state.epochs[index + 1].opened if index + 1 < len(state.epochs) else end
        ax.axvspan(epoch.opened, until, color=PALETTE[0], alpha=0.03 + 0.10 * epoch.weight / 100, linewidth=0)
        ax.annotate(
            f"{epoch.weight} %",
            ((epoch.opened + until) / 2, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -11),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=PALETTE[5],
        )

    def curve(values: list[float]) -> list[float]:
        return [max(value / math.log(10), _FLOOR) for value in values]

    ax.plot(times, curve([look.promote for look in state.looks]), color=GOOD, linewidth=2.2, label="promote")
    for rail, color in zip(policy.guardrails, (BAD, PALETTE[3], PALETTE[4], PALETTE[5]), strict=False):
        values = [look.rollback[rail.metric] for look in state.looks]
        ax.plot(times, curve(values), color=color, linewidth=1.5, label=f"roll back: {WORDS[rail.metric]}")
    for threshold, color in ((policy.promote_threshold, GOOD), (policy.rollback_threshold, BAD)):
        ax.axhline(threshold / math.log(10), color=color, linestyle=(0, (4, 3)), linewidth=1.2)
    ax.set_xlabel("seconds under observation")
    ax.set_ylabel("evidence, log10 of the e-value")
    ax.set_xlim(0, end)
    ax.margins(y=0.12)
    ax.legend(loc="lower left", fontsize=8, frameon=False)
    return figure


def replay_facts(replayed: Replayed) -> dict[str, object]:
    """Return what a replay did, for a table."""
    facts: dict[str, object] = {
        "requests": replayed.sent,
        "seconds": round(replayed.seconds, 1),
        "not answered": replayed.failed,
        "feedback not taken": replayed.unjudged,
        "put off, endpoint too slow": replayed.late,
        "latency, median": f"{1000 * replayed.quantile(0.5):.1f} ms",
        "latency, 99 %": f"{1000 * replayed.quantile(0.99):.1f} ms",
    }
    for name, variant in sorted(replayed.variants.items()):
        facts[f"{name}: wrong of answers"] = f"{variant.wrong} of {variant.answers}"
    if replayed.errors:
        facts["what went wrong"] = "; ".join(replayed.errors)
    return facts


def _caption(state: CanaryState) -> str:
    policy = state.policy
    return (
        f"{state.challenger} is promoted when the green line has reached its dashed threshold "
        f"(e = {1 / policy.beta:.3g}) and every weight was held; it is rolled back when a guard-rail reaches the red one "
        f"(e = {e_value(policy.rollback_threshold)}). Shaded: its share of the traffic."
    )


def _evidence_table(page: Report, state: CanaryState) -> None:
    policy, found = state.policy, assess(state.epochs, state.policy)
    rows: list[tuple[object, ...]] = [
        (
            f"promote: {WORDS[policy.primary]} less than {policy.margin:g} times the champion's",
            e_value(found.log_promote),
            f"{1 / policy.beta:.3g}",
            "proven" if state.proven else "not proven",
        )
    ]
    rows += [
        (
            f"roll back: more {WORDS[rail.metric]} than the champion",
            e_value(rail.log_rollback),
            e_value(policy.rollback_threshold),
            "alarm" if rail.alarm else "quiet",
        )
        for rail in found.rails
    ]
    for what, log in (("requests", found.log_mismatch), ("feedback", found.log_label_mismatch)):
        alarm = "alarm" if log >= policy.mismatch_threshold else "as set"
        rows.append((f"sample ratio of {what}", e_value(log), e_value(policy.mismatch_threshold), alarm))
    page.table("Evidence at the end", ("question", "e-value", "threshold", "result"), rows)


def _counts_table(page: Report, state: CanaryState) -> None:
    header = (
        "weight",
        "from",
        "variant",
        "requests",
        "errors",
        "slow",
        "refused",
        "judged",
        "wrong",
        "wrong rate",
    )
    rows: list[tuple[object, ...]] = []
    for epoch in state.epochs:
        for name, tally in ((state.champion, epoch.champion), (state.challenger, epoch.challenger)):
            rows.append(
                (
                    f"{epoch.weight} %",
                    f"{epoch.opened:.0f} s",
                    name,
                    tally.requests,
                    tally.errors,
                    tally.slow,
                    tally.refused,
                    tally.judged,
                    tally.wrong,
                    f"{100 * tally.rate('wrong'):.2f} %",
                )
            )
    page.table("Counts per weight", header, rows)
