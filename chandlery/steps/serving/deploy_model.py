"""The body of `deploy_model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from chandlery import addresses
from chandlery.deployments.client import DeploymentAddress, curl_line
from chandlery.deployments.deploy import Request, deploy
from chandlery.deployments.sample import sample_request
from chandlery.deployments.spec import node_name
from chandlery.registry import download
from chandlery.runs import RunFacts, note
from chandlery.steps.artifacts import Artifact, write_document, yes


class DeployOutputs(NamedTuple):
    """Outputs of `deploy_model`."""

    endpoint: str
    strategy: str
    changed: str
    reason: str


def deploy_model(
    *, document: Artifact, environment: Mapping[str, object], deadline_seconds: float, **given: Any
) -> DeployOutputs:
    """Deploy a model version; see `chandlery.deployments.deploy.deploy`."""
    request = Request(
        **given,
        environment={name: _text(value) for name, value in environment.items()},
        deadline=deadline_seconds,
    )
    done = deploy(request)
    write_document(document, done.document)
    note(RunFacts(endpoint=done.endpoint, deployment=request.name, curl=_curl(request, done.version)))
    return DeployOutputs(done.endpoint, done.strategy, yes(done.changed), done.reason)


def _curl(request: Request, version: str) -> str:
    address = DeploymentAddress(
        addresses.require_gateway(),
        request.where,
        request.name,
        request.protocol,
        node_name(request.model_name),
    )
    return curl_line(address, sample_request(download(request.model_name, version)))


def _text(value: object) -> str:
    # kfp hands every number of a dict over as a float.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
