"""Watches a canary from its first weight to its verdict, and can be killed at any moment.

The state is written to the deployment before each act (see `decision.machine`). A process that runs it again finds
the same epochs and baselines. Time when no process watches does not count towards the deadline.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from chandlery import progress
from chandlery.canary.decision import machine as machine
from chandlery.canary.decision.assessment import Assessment
from chandlery.canary.decision.early_end import EarlyEnd
from chandlery.canary.decision.machine import NextAction, e_value
from chandlery.canary.decision.policy import ReleasePolicy
from chandlery.canary.decision.state import CanaryState
from chandlery.canary.watch import lease
from chandlery.canary.watch.port import Side
from chandlery.errors import (
    ChandleryError,
    ConflictError,
    NotFoundError,
    PlatformError,
    ServingError,
    UserError,
)
from chandlery.processes import holder_text
from chandlery.resources.counts import Counts

REPORT_SECONDS = 10.0  # the longest silence while there is news
SILENCE_SECONDS = 600.0  # the longest silence without news: each one is twice as long as the one before
MISSING_SECONDS = 10.0  # without any request for so long, the canary tells how to get some
MISSING_FEEDBACK_REQUESTS = 300  # without feedback on any of so many, after as long, likewise
BASELINE_SECONDS = 60.0  # counters that cannot be read for so long after a shift end the step


@dataclass(frozen=True)
class Watched:
    """How a canary ended.

    Attributes:
        verdict: `promoted`, `rolled_back`, `inconclusive` or `nothing_to_do`.
        reason: why, one sentence with numbers.
        serving: predictor that has all the traffic now.
        released: the challenger is the one.
        state: the last state; None when there was nothing to do.
    """

    verdict: str
    reason: str
    serving: str
    released: bool
    state: CanaryState | None = None


class Canary:
    """One canary under watch."""

    def __init__(
        self,
        side: Side,
        policy: ReleasePolicy,
        *,
        run: str = "",
        stop: threading.Event | None = None,
        get_traffic: str = "",
        get_feedback: str = "",
        clock: Callable[[], float] = time.monotonic,
        report: Callable[..., None] = progress.report,
    ) -> None:
        """Prepare to watch.

        Args:
            side: the deployment and its counters.
            policy: what the challenger is judged by; a canary that is continued keeps the one it began with.
            run: id of the run; a canary of the same run is continued, never begun twice.
            stop: set from outside to stop watching, leaving the canary as it is.
            get_traffic: what a person can do when no requests come, a clause; empty: they come by themselves.
            get_feedback: what a person can do when no feedback comes, likewise.
            clock: seconds, monotonic.
            report: where progress goes, called as `report(event, message, **fields)`.
        """
        self._side = side
        self._policy = policy
        self._run = run
        self._stop = stop or threading.Event()
        self._clock = clock
        self._report = report
        self._name = holder_text()
        self._looked = False
        self._stored_at = -math.inf
        self._get_traffic = get_traffic
        self._get_feedback = get_feedback
        self._counted_before: Counts | None = None
        self._told: tuple[object, ...] = ()
        self._told_at = -math.inf
        self._silence = REPORT_SECONDS

    def watch(self, challenger: str) -> Watched:
        """Walk the challenger through the weights until there is a verdict, and carry that out.

        Args:
            challenger: its predictor.

        Raises:
            NotFoundError: there is no such deployment.
            UserError: the deployment has no such predictor, or is not a canary.
            ConflictError: another process watches this deployment's canary.
            ChandleryError: `stop` was set; the canary can be continued.
            DeadlineError: a weight did not come into force.
        """
        state = self._find(challenger)
        if state is None:
            reason = f"{challenger} already answers all requests alone; there is nothing to compare it with"
            self._report(
                "canary.verdict", f"canary: nothing to do: {reason}", verdict="nothing_to_do", reason=reason
            )
            return Watched("nothing_to_do", reason, challenger, released=True)
        state = self._store(state)
        base, began = state.elapsed, self._clock()
        while state.phase in ("shifting", "observing"):
            request = self._request(state)
            if request:
                state = self._store(machine.ended_early(state, request))
                break
            if state.phase == "shifting":
                state = self._shift(state)
                continue
            self._pause(state)
            state = self._observe(state, base + self._clock() - began)
        return self._finish(state)

    def _find(self, challenger: str) -> CanaryState | None:
        """Return the state to go on from; None when the challenger already serves alone."""
        weights = self._side.weights()
        if weights is None:
            raise NotFoundError(
                "canary: there is no such deployment", "deploy the challenger with deploy_model first"
            )
        stored = self._stored()
        if stored:
            self._await_other(stored)
            stored = self._stored()
        if stored and self._continues(stored, challenger):
            self._report(
                "canary.resumed",
                f"canary of {challenger}: going on from {stored.phase} at {stored.weight} %, "
                f"{stored.elapsed:.0f} s of observation so far",
                phase=stored.phase,
                weight=stored.weight,
            )
            return self._check_resumed(stored, weights)
        if list(weights) == [challenger]:
            return None
        champion = _champion(weights, challenger)
        self._side.withdraw()  # a request that was made for an earlier canary
        return machine.begin(self._run, champion, challenger, self._policy)

    def _request(self, state: CanaryState) -> EarlyEnd | None:
        """Return what a person asks of this canary; a promotion waits as long as nothing would answer after it."""
        request = EarlyEnd.from_json(self._side.request())
        if request is None or not request.means(state):
            return None
        if request.decision == "promote" and self._side.health(state.challenger)[0] != "ready":
            return None
        return request

    def _continues(self, stored: CanaryState, challenger: str) -> bool:
        # A finished one speaks again only to the run that it belongs to; without a run id nobody knows which that is.
        same = stored.challenger == challenger and stored.run == self._run
        return same and (bool(self._run) or stored.phase != "finished")

    def _check_resumed(self, state: CanaryState, weights: dict[str, int]) -> CanaryState:
        if state.phase == "observing" and weights != self._split(state):
            return self._changed_by_others(state, weights)
        return state

    def _changed_by_others(self, state: CanaryState, weights: dict[str, int]) -> CanaryState:
        if state.challenger not in weights:
            return machine.conclude(
                state, "rolled_back", f"{state.challenger} was removed by another process"
            )
        if state.champion not in weights:
            raise ConflictError(
                f"canary: the champion {state.champion} was removed by another process",
                "deploy the version that should serve with deploy_model, strategy replace",
            )
        self._report(
            "canary.reopened",
            f"canary: another process set {state.challenger} to {weights[state.challenger]} %; "
            f"back to {state.weight} % with a new epoch",
            weight=state.weight,
        )
        return machine.reopened(state)

    def _await_other(self, stored: CanaryState) -> None:
        # A finished canary is nobody's; a dead holder is succeeded at once.
        end = self._clock() + 1.5 * lease.LEASE_SECONDS
        while stored.phase != "finished" and stored.holder != self._name and lease.is_alive(stored):
            if self._clock() > end or self._stop.wait(0.5):
                raise ConflictError(
                    f"canary of {stored.challenger}: {stored.holder} is watching it",
                    "wait for that run to end, or stop it",
                )
            stored = self._stored() or stored

    def _shift(self, state: CanaryState) -> CanaryState:
        seconds = self._side.shift(self._split(state))
        self._report(
            "canary.stage",
            f"canary: {state.challenger} at {state.weight} % (in force after {1000 * seconds:.0f} ms)",
            weight=state.weight,
            seconds=seconds,
        )
        end = self._clock() + BASELINE_SECONDS
        while not self._refresh():
            if self._clock() > end:
                raise PlatformError(
                    f"canary of {state.challenger}: no counters for {BASELINE_SECONDS:.0f} s",
                    "is the gateway running? run the same again to go on",
                )
            self._pause(state)
        counters = self._counters(state)
        if not sum(tally.requests for tally in counters):
            self._tell_missing_traffic(f"no request has reached {state.champion} or {state.challenger} yet")
        return self._store(machine.opened(state, counters))

    def _observe(self, state: CanaryState, elapsed: float) -> CanaryState:
        weights = self._side.weights() or {}
        if weights != self._split(state):
            return self._store(self._changed_by_others(state, weights))
        # Counters that cannot be read now leave the ones of the look before: no news, while the deadline goes on.
        counters = self._counters(state) if self._refresh() else state.last
        health, detail = self._side.health(state.challenger)
        state, decision, evidence = machine.observe(state, counters, elapsed, health, detail)
        self._report_evidence(state, decision, evidence)
        if decision.action == "wait":
            self._tell_what_is_missing(state)
        # The first look of each life is kept, so that lives too short for a renewal get on nevertheless.
        due = self._clock() - self._stored_at >= lease.RENEW_SECONDS
        if due or decision.action != "wait" or not self._looked:
            state = self._store(state)
        self._looked = True
        return state

    def _finish(self, state: CanaryState) -> Watched:
        released = state.verdict == "promoted"
        serving, leaving = state.challenger, state.champion
        if not released:
            serving, leaving = leaving, serving
        weights = self._side.weights() or {}
        began = self._clock()
        if leaving in weights and serving in weights:
            self._side.remove(leaving)
        elif serving not in weights:
            raise ConflictError(
                f"canary: {state.verdict}, but {serving} was removed by another process",
                "deploy the version that should serve with deploy_model, strategy replace",
            )
        seconds = self._clock() - began
        state = self._store(machine.finished(state))
        self._report(
            "canary.verdict",
            f"canary: {state.verdict.replace('_', ' ')}: {state.reason}",
            verdict=state.verdict,
            reason=state.reason,
            serving=serving,
            seconds=seconds,
        )
        return Watched(state.verdict, state.reason, serving, released, state)

    def _refresh(self) -> bool:
        try:
            self._side.refresh()
        except (ServingError, PlatformError, NotFoundError) as error:
            self._report("canary.blind", f"canary: counters cannot be read: {error.message}")
            return False
        return True

    def _counters(self, state: CanaryState) -> tuple[Counts, Counts]:
        return self._side.counters(state.champion), self._side.counters(state.challenger)

    def _split(self, state: CanaryState) -> dict[str, int]:
        return {state.champion: 100 - state.weight, state.challenger: state.weight}

    def _pause(self, state: CanaryState) -> None:
        if self._stop.wait(state.policy.look_seconds):
            self._side.store(state.with_(holder="").to_json())
            raise ChandleryError(
                f"canary of {state.challenger} stopped at {state.weight} % after {state.elapsed:.0f} s of observation",
                "run the same again: it goes on from there",
            )

    def _stored(self) -> CanaryState | None:
        text = self._side.load()
        return CanaryState.from_json(text) if text else None

    def _store(self, state: CanaryState) -> CanaryState:
        there = self._stored()
        if there and there.phase != "finished" and there.holder != self._name and lease.is_alive(there):
            raise ConflictError(
                f"canary of {state.challenger}: {there.holder} took it over",
                "only one process may watch a canary",
            )
        state = state.with_(holder=self._name, heartbeat=time.time())
        self._side.store(state.to_json())
        self._stored_at = self._clock()
        return state

    def _tell_what_is_missing(self, state: CanaryState) -> None:
        policy, now = state.policy, state.last[0] + state.last[1]
        if self._counted_before is None:
            self._counted_before = now
        # The counters themselves: what comes within a grace is not counted as evidence, and comes nevertheless.
        new = now.since(self._counted_before)
        champion, challenger = state.totals()
        counted = champion + challenger
        waited = state.elapsed - MISSING_SECONDS  # counters may be as old as the grace
        if waited >= policy.grace_seconds and not (new.requests or counted.requests):
            self._tell_missing_traffic(f"no request for {state.elapsed:.0f} s")
        unjudged = 0 if new.judged or counted.judged else counted.requests
        if waited >= policy.label_grace_seconds and unjudged >= MISSING_FEEDBACK_REQUESTS:
            self._tell_missing_feedback(state, unjudged)

    def _tell_missing_feedback(self, state: CanaryState, requests: int) -> None:
        if self._get_feedback and state.policy.primary == "wrong":
            self._report(
                "canary.no_feedback",
                f"canary: no feedback on {requests} requests, and without it nothing is known of wrong answers and nothing "
                f"will be decided: {self._get_feedback}",
                requests=requests,
            )
            self._get_feedback = ""  # said once

    def _tell_missing_traffic(self, what: str) -> None:
        if self._get_traffic:
            self._report(
                "canary.no_traffic",
                f"canary: {what}, and without traffic nothing will be decided: {self._get_traffic}",
            )
            self._get_traffic = ""  # said once

    def _is_silent(self, state: CanaryState, decision: NextAction, news: tuple[object, ...]) -> bool:
        """Return whether this look is folded into the last line: nothing has changed, or it is too soon."""
        silent = self._clock() - self._told_at
        if decision.action != "wait" or news != self._told:
            # Each look at first, then ever fewer lines, down to one in ten seconds.
            quiet = min(REPORT_SECONDS, max(state.policy.look_seconds, state.elapsed / 60)) * 0.9
            return decision.action == "wait" and silent < quiet
        return silent < self._silence

    def _report_evidence(self, state: CanaryState, decision: NextAction, evidence: Assessment) -> None:
        worst = evidence.worst
        promote, roll_back = e_value(evidence.log_promote), e_value(worst.log_rollback)
        news = (state.weight, decision.why, promote, roll_back, worst.metric)
        if self._is_silent(state, decision, news):
            return
        unchanged = decision.action == "wait" and news == self._told
        again = f" (unchanged for {self._clock() - self._told_at:.0f} s)" if unchanged else ""
        self._silence = min(2 * self._silence, SILENCE_SECONDS) if unchanged else REPORT_SECONDS
        self._told, self._told_at = news, self._clock()
        champion, challenger = state.totals()
        rails = {rail.metric: math.exp(min(rail.log_rollback, 700.0)) for rail in evidence.rails}
        self._report(
            "canary.evidence",
            f"canary {state.elapsed:4.0f} s: {state.challenger} at {state.weight} %, "
            f"{champion.requests + challenger.requests} requests, promote e={promote} of "
            f"{1 / state.policy.beta:.3g}, roll back e={roll_back} of "
            f"{math.exp(state.policy.rollback_threshold):.3g} ({worst.metric}); {decision.why}{again}",
            weight=state.weight,
            elapsed=round(state.elapsed, 2),
            e_promote=math.exp(min(evidence.log_promote, 700.0)),
            e_rollback=rails,
            promote_threshold=1 / state.policy.beta,
            rollback_threshold=math.exp(state.policy.rollback_threshold),
            requests={state.champion: champion.requests, state.challenger: challenger.requests},
            wrong={state.champion: champion.wrong, state.challenger: challenger.wrong},
            judged={state.champion: champion.judged, state.challenger: challenger.judged},
            errors={state.champion: champion.errors, state.challenger: challenger.errors},
            slow={state.champion: champion.slow, state.challenger: challenger.slow},
            refused={state.champion: champion.refused, state.challenger: challenger.refused},
            action=decision.action,
        )


def _champion(weights: dict[str, int], challenger: str) -> str:
    names = list(weights)
    if challenger not in names:
        raise UserError(
            f"canary: the deployment has no predictor {challenger}, only {', '.join(names)}",
            "deploy the challenger with deploy_model, strategy canary, first",
        )
    if len(names) != 2 or names[0] == challenger:
        raise UserError(
            f"canary of {challenger}: the deployment splits its traffic between {', '.join(names)}",
            "a canary has two predictors: the champion first, then the challenger",
        )
    return names[0]
