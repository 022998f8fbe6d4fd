"""The body of `run_canary`."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from chandlery.canary.parameters import CanaryParameters
from chandlery.runs import RunFacts, note
from chandlery.steps.artifacts import Artifact, publish, yes
from chandlery.steps.serving.canary_record import record_canary

__all__ = ["CanaryParameters", "run_canary"]


class CanaryOutputs(NamedTuple):
    """Outputs of `run_canary`; KFP reads them by these names."""

    verdict: str
    reason: str
    released: str
    champion_version: str


def run_canary(parameters: CanaryParameters, report: Artifact, evidence: Artifact) -> CanaryOutputs:
    """Release a deployed challenger by canary; write its report and its numbers.

    Args:
        parameters: the parameters of the component.
        report: HTML artifact to write.
        evidence: Metrics artifact to write.
    """
    from chandlery.canary import release
    from chandlery.steps.serving.traffic import load_traffic

    released = release.run_canary(
        parameters,
        partial(load_traffic, parameters.traffic_repo, parameters.traffic_ref, parameters.model_name),
    )
    publish(report, evidence, released.page, released.metrics, released.provenance)
    if released.verdict != "nothing_to_do":
        record_canary(
            parameters.model_name,
            released.provenance.model_version,
            released.verdict,
            released.reason,
            released.ended_by,
        )
    facts = RunFacts(
        verdict=released.verdict,
        verdict_reason=released.reason,
        serving_version=released.serving_version,
        deployment=released.deployment,
    )
    note(facts, {"Canary": report.path})
    return CanaryOutputs(released.verdict, released.reason, yes(released.released), released.serving_version)
