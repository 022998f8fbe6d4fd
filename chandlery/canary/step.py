"""What the components `run_canary` and `replay_traffic` call: parameters and artifacts in, outputs out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chandlery import provenance
from chandlery.files import write_text
from chandlery.report import Report


class CanaryOutputs(NamedTuple):
    """Outputs of `run_canary`; kfp reads them by these names."""

    verdict: str
    reason: str
    released: str
    champion_version: str


class ReplayOutputs(NamedTuple):
    """Outputs of `replay_traffic`."""

    requests: int
    failed: int
    wrong: int


def run_canary(
    *,
    model_name: str,
    challenger_version: str,
    deployment: str,
    namespace: str,
    weights: Sequence[float],
    alpha: float,
    beta: float,
    margin: float,
    primary: str,
    guardrails: Sequence[str],
    minimum_requests: int,
    deadline_seconds: float,
    look_seconds: float,
    grace_seconds: float,
    label_grace_seconds: float,
    design_effect: float,
    latency_objective_seconds: float,
    traffic_repo: str,
    traffic_ref: str,
    replay_rate: float,
    seed: int,
    report: Any,
    evidence: Any,
) -> CanaryOutputs:
    """Release a deployed challenger by canary, write its report and its numbers; see the component."""
    from chandlery.canary.decision.policy import policy_from
    from chandlery.canary.release import run_canary
    from chandlery.canary.target import pace_of
    from chandlery.runs.journal import note

    pace = pace_of(look_seconds, grace_seconds, label_grace_seconds)
    policy = policy_from(
        weights,
        alpha,
        beta,
        margin,
        primary,
        guardrails,
        deadline_seconds,
        minimum_requests,
        pace.look_seconds,
        pace.grace_seconds,
        pace.label_grace_seconds,
        design_effect,
    )
    released = run_canary(
        model_name,
        challenger_version,
        deployment,
        namespace,
        policy,
        latency_objective_seconds,
        traffic_repo,
        traffic_ref,
        replay_rate,
        seed,
    )
    _publish(report, evidence, released.page, released.metrics, released.provenance)
    note(
        {
            "verdict": released.verdict,
            "verdict_reason": released.reason,
            "serving_version": released.serving_version,
            "deployment": released.deployment,
        },
        {"Canary": report.path},
    )
    return CanaryOutputs(
        released.verdict, released.reason, "yes" if released.released else "no", released.serving_version
    )


def replay_traffic(
    *,
    model_name: str,
    repo: str,
    ref: str,
    deployment: str,
    namespace: str,
    part: str,
    rate: float,
    seconds: float,
    requests: int,
    concurrency: int,
    seed: int,
    report: Any,
    counts: Any,
) -> ReplayOutputs:
    """Replay labelled rows against a deployment, write what came of it; see the component."""
    from chandlery.canary.replay.session import replay_traffic
    from chandlery.canary.report import replay_facts

    result = replay_traffic(
        model_name, deployment, namespace, repo, ref, part, rate, seconds, requests, concurrency, seed
    )
    wrong = sum(variant.wrong for variant in result.variants.values())
    metrics: dict[str, float] = {
        "requests": result.sent,
        "failed": result.failed,
        "wrong": wrong,
        "seconds": round(result.seconds, 2),
        "median_seconds": round(result.quantile(0.5), 5),
        "p99_seconds": round(result.quantile(0.99), 5),
    }
    for name, variant in sorted(result.variants.items()):
        metrics[f"{name}_answers"] = variant.answers
        metrics[f"{name}_wrong"] = variant.wrong
    record = provenance.current().with_(model_name=model_name, data_repo=repo, data_branch=ref)
    page = Report(f"Replay of {repo}@{ref}", f"against {deployment or model_name}")
    page.facts("What came back", replay_facts(result)).provenance(record)
    _publish(report, counts, page, metrics, record)
    return ReplayOutputs(result.sent, result.failed, wrong)


def _publish(
    report: Any, metrics: Any, page: Report, values: Mapping[str, float], record: provenance.Provenance
) -> None:
    """Fill an HTML and a Metrics artifact: a file for each, numbers and provenance as metadata."""
    page.write(report.path)
    report.metadata.update(record.metadata())
    write_text(Path(metrics.path), json.dumps(dict(values), indent=2, sort_keys=True) + "\n")
    metrics.metadata.update({**record.metadata(), **values})
