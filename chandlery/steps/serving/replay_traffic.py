"""The body of `replay_traffic`."""

from __future__ import annotations

from typing import NamedTuple

from chandlery import provenance
from chandlery.canary.parameters import ReplayParameters
from chandlery.report import Report
from chandlery.steps.artifacts import Artifact, publish

__all__ = ["ReplayParameters", "replay_traffic"]


class ReplayOutputs(NamedTuple):
    """Outputs of `replay_traffic`; KFP reads them by these names."""

    requests: int
    failed: int
    wrong: int


def replay_traffic(parameters: ReplayParameters, report: Artifact, counts: Artifact) -> ReplayOutputs:
    """Replay labelled rows against a deployment; write the answers' counts and latencies.

    Args:
        parameters: the parameters of the component.
        report: HTML artifact to write.
        counts: Metrics artifact to write.
    """
    from chandlery.canary.replay import session
    from chandlery.canary.report import replay_facts
    from chandlery.steps.serving.traffic import load_traffic

    model_name, repo, ref = parameters.model_name, parameters.repo, parameters.ref
    result = session.replay_traffic(
        parameters, lambda version: load_traffic(repo, ref, model_name, version, parameters.part)
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
    page = Report(f"Replay of {repo}@{ref}", f"against {parameters.deployment or model_name}")
    page.facts("What came back", replay_facts(result)).provenance(record)
    publish(report, counts, page, metrics, record)
    return ReplayOutputs(result.sent, result.failed, wrong)
