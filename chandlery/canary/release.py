"""Releases a deployed model version by canary: the deployment, its traffic and the loop brought together."""

from __future__ import annotations

import math
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chandlery import platform, progress, provenance
from chandlery.canary.decision.assessment import assess
from chandlery.canary.decision.policy import ReleasePolicy
from chandlery.canary.replay.sender import CONCURRENCY, Replay, Replayed, ReplayThread, load_traffic
from chandlery.canary.target import endpoint_of, place_of, spec_of, stopped_by_sigterm, version_of
from chandlery.canary.watch.port import DeploymentSide
from chandlery.canary.watch.watcher import Canary, Outcome
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
    """

    verdict: str
    reason: str
    deployment: str
    serving_version: str
    released: bool
    metrics: dict[str, float]
    page: Report
    provenance: Provenance


def run_canary(
    model_name: str,
    challenger_version: str,
    deployment: str,
    namespace: str,
    policy: ReleasePolicy,
    latency_objective_seconds: float,
    traffic_repo: str = "",
    traffic_ref: str = "master",
    replay_rate: float = 0.0,
    seed: int = 0,
) -> Released:
    """Release a model version that is deployed as canary, or roll it back.

    Args:
        model_name: registered model.
        challenger_version: its version that is being released.
        deployment: name of the deployment; empty: the model's.
        namespace: Kubernetes namespace; empty: the endpoint's.
        policy: what the version is judged by.
        latency_objective_seconds: slower answers are bad ones.
        traffic_repo: Pachyderm repo of labelled rows to replay; empty: live traffic alone.
        traffic_ref: branch or commit of that repo.
        replay_rate: requests per second to replay; 0: live traffic alone.
        seed: of the replay.

    Raises:
        NotFoundError: no such deployment.
        UserError: the deployment has no such version beside a champion.
        ConflictError: another process watches this canary.
        ChandleryError: it was told to stop (SIGTERM); running the same again goes on from there.
    """
    from chandlery.deployments.spec import predictor_name

    name, where = place_of(model_name, deployment, namespace)
    challenger = predictor_name(version_of(challenger_version))
    store = platform.open_resources()
    try:
        spec = spec_of(store, name, where)
        side = DeploymentSide(store, name, where, latency_objective_seconds)
        stop = threading.Event()
        run_id = provenance.current().run_id
        canary = Canary(side, policy, run=run_id, stop=stop)
        replay = None
        if traffic_repo and replay_rate > 0:
            replay = _replay(
                side, spec, model_name, challenger, traffic_repo, traffic_ref, replay_rate, seed, stop
            )
        with stopped_by_sigterm(stop), replay or nullcontext():
            outcome = _watch(canary, challenger, replay)
    finally:
        store.close()
    return _released(
        outcome, model_name, name, version_of(challenger_version), replay.result if replay else None
    )


def _watch(canary: Canary, challenger: str, replay: ReplayThread | None) -> Outcome:
    try:
        return canary.watch(challenger)
    except ChandleryError as error:
        # A canary that was stopped because its traffic broke off says so, rather than that it was stopped.
        if replay is not None and replay.error is not None:
            raise replay.error from error
        raise


def _replay(
    side: DeploymentSide,
    spec: ServingSpec,
    model_name: str,
    challenger: str,
    repo: str,
    ref: str,
    rate: float,
    seed: int,
    stop: threading.Event,
) -> ReplayThread | None:
    champion = spec.stable
    if len(spec.variants) < 2 or champion.predictor == challenger:
        return None  # nothing to compare: the canary will say so, or finish what was decided
    traffic = load_traffic(repo, ref, model_name, champion.version)
    progress.report(
        "replay.started",
        f"replaying {len(traffic)} rows of {repo}@{ref} at {rate:g} requests/s, judged by the recipe of the "
        f"champion {champion.predictor}",
        rows=len(traffic),
        rate=rate,
    )
    endpoint = endpoint_of(side.name, side.namespace, spec, 2 * CONCURRENCY)
    return ReplayThread(Replay(endpoint, traffic, rate, seed=seed), on_failure=stop.set)


def _released(
    outcome: Outcome, model_name: str, deployment: str, version: str, replayed: Replayed | None
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
    )


def _metrics(outcome: Outcome) -> dict[str, float]:
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
