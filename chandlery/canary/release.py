"""Releases a deployed model version by canary: the deployment, its traffic and the loop brought together."""

from __future__ import annotations

import math
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chandlery import platform, progress, provenance
from chandlery.canary.decision.assessment import assess
from chandlery.canary.decision.early_end import Decision
from chandlery.canary.parameters import CanaryParameters
from chandlery.canary.replay.sender import CONCURRENCY, Replay, Replayed, ReplayThread, TrafficLoader
from chandlery.canary.target import endpoint_of, place_of, spec_of, stopped_by_sigterm, url_of, version_of
from chandlery.canary.watch.port import DeploymentSide
from chandlery.canary.watch.watcher import Canary, Watched
from chandlery.errors import ChandleryError
from chandlery.provenance import Provenance
from chandlery.report import Report

if TYPE_CHECKING:
    from chandlery.deployments.spec import ServingSpec


@dataclass(frozen=True)
class Released:
    """How a canary ended, in the registry's terms.

    Attributes:
        verdict: `promoted`, `rolled_back`, `inconclusive` or `nothing_to_do`.
        reason: why, one sentence with numbers.
        deployment: name of the deployment.
        serving_version: version that has all the traffic now.
        released: the challenger is the one.
        metrics: numbers for a Metrics artifact.
        page: the HTML report.
        provenance: where the challenger comes from.
        ended_by: who ended it early; empty when the evidence decided.
    """

    verdict: str
    reason: str
    deployment: str
    serving_version: str
    released: bool
    metrics: dict[str, float]
    page: Report
    provenance: Provenance
    ended_by: str = ""


def run_canary(parameters: CanaryParameters, load_traffic: TrafficLoader) -> Released:
    """Release a model version that is deployed as canary, or roll it back.

    Args:
        parameters: what is released, and how it is judged.
        load_traffic: returns the rows to replay, judged by the recipe of the version given to it.

    With a `decision` other than `auto` the canary that is running ends so, and nothing is weighed.

    Raises:
        NotFoundError: no such deployment.
        UserError: a parameter is out of range, or the deployment has no such version beside a champion.
        ConflictError: another process watches this canary.
        ChandleryError: SIGTERM stopped it; running the same again continues.
    """
    from chandlery.deployments.spec import predictor_name

    policy = parameters.policy()
    if decision := parameters.early_end():
        return _end_early(parameters, decision)
    name, where = place_of(parameters.model_name, parameters.deployment, parameters.namespace)
    version = version_of(parameters.challenger_version)
    challenger = predictor_name(version)
    store = platform.open_resources()
    try:
        spec = spec_of(store, name, where)
        side = DeploymentSide(store, name, where, parameters.latency_objective_seconds)
        stop = threading.Event()
        replay = _replay(side, spec, parameters, load_traffic, stop)
        canary = Canary(
            side,
            policy,
            run=provenance.current().run_id,
            stop=stop,
            get_traffic="" if replay else traffic_advice(url_of(name, where)),
            get_feedback=feedback_advice(url_of(name, where)),
        )
        with stopped_by_sigterm(stop), replay or nullcontext():
            outcome = _watch(canary, challenger, replay)
    finally:
        store.close()
    return _released(outcome, parameters.model_name, name, version, replay.result if replay else None)


def traffic_advice(url: str) -> str:
    """Return what a person can do for a canary without traffic, a clause; `url` is the deployment's base URL."""
    return (
        f"send requests to {url}, or run it again with traffic_repo=<repo of labelled rows> and replay_rate=100 "
        "(the component replay_traffic does the same beside it)"
    )


def feedback_advice(url: str) -> str:
    """Return what a person can do for a canary without feedback, a clause; `url` is the deployment's base URL."""
    return f"send the truth of the answers to {url}/api/v1.0/feedback, or run it again with primary=errors"


def _end_early(parameters: CanaryParameters, decision: Decision) -> Released:
    from chandlery.canary.ending import end_early

    name, where = place_of(parameters.model_name, parameters.deployment, parameters.namespace)
    version = version_of(parameters.challenger_version)
    run = provenance.current().run_id
    ended = end_early(name, where, decision, parameters.decision_reason, f"run {run}" if run else "", version)
    state = ended.state
    outcome = Watched(state.verdict, state.reason, ended.serving, ended.serving == state.challenger, state)
    progress.report(
        "canary.verdict", f"canary: {state.verdict.replace('_', ' ')}: {state.reason}", verdict=state.verdict
    )
    return _released(outcome, parameters.model_name, name, version, None)


def _watch(canary: Canary, challenger: str, replay: ReplayThread | None) -> Watched:
    try:
        return canary.watch(challenger)
    except ChandleryError as error:
        # A canary that was stopped because its traffic broke off reports that, rather than the stop.
        if replay is not None and replay.error is not None:
            raise replay.error from error
        raise


def _replay(
    side: DeploymentSide,
    spec: ServingSpec,
    parameters: CanaryParameters,
    load_traffic: TrafficLoader,
    stop: threading.Event,
) -> ReplayThread | None:
    champion = spec.stable
    challenger = version_of(parameters.challenger_version)
    if not parameters.traffic_repo or parameters.replay_rate <= 0:
        return None  # live traffic alone
    if len(spec.variants) < 2 or champion.version == challenger:
        return None  # nothing to compare: the canary reports that, or completes what was decided
    traffic = load_traffic(champion.version)
    progress.report(
        "replay.started",
        f"replaying {len(traffic)} rows of {parameters.traffic_repo}@{parameters.traffic_ref} at "
        f"{parameters.replay_rate:g} requests/s, judged by the recipe of the champion {champion.predictor}",
        rows=len(traffic),
        rate=parameters.replay_rate,
    )
    endpoint = endpoint_of(side.name, side.namespace, spec, 2 * CONCURRENCY)
    replay = Replay(endpoint, traffic, parameters.replay_rate, seed=parameters.seed)
    return ReplayThread(replay, on_failure=stop.set)


def _released(
    outcome: Watched, model_name: str, deployment: str, version: str, replayed: Replayed | None
) -> Released:
    from chandlery.canary.report import canary_page

    record = provenance.current().with_(model_name=model_name, model_version=version)
    return Released(
        verdict=outcome.verdict,
        reason=outcome.reason,
        deployment=deployment,
        serving_version=version_of(outcome.serving),
        released=outcome.released,
        metrics=_metrics(outcome),
        page=canary_page(f"Canary of {model_name} version {version}", outcome, record, replayed),
        provenance=record,
        ended_by=outcome.state.ended_by if outcome.state else "",
    )


def _metrics(outcome: Watched) -> dict[str, float]:
    state = outcome.state
    if state is None:
        return {"released": float(outcome.released)}
    evidence = assess(state.epochs, state.policy)
    champion, challenger = state.totals()
    metrics = {
        "released": float(outcome.released),
        "seconds": round(state.elapsed, 2),
        "e_promote": _finite(evidence.log_promote),
        "champion_requests": float(champion.requests),
        "challenger_requests": float(challenger.requests),
    }
    for rail in evidence.rails:
        metrics[f"e_rollback_{rail.metric}"] = _finite(rail.log_rollback)
        metrics[f"champion_{rail.metric}_rate"] = champion.rate(rail.metric)
        metrics[f"challenger_{rail.metric}_rate"] = challenger.rate(rail.metric)
    return metrics


def _finite(log: float) -> float:
    return float(f"{math.exp(min(log, 600.0)):.4g}")
