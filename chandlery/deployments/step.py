"""The bodies of the serving components: parameters in, one call, what the pipeline needs out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from chandlery import addresses, provenance
from chandlery.deployments.client import curl_line
from chandlery.deployments.deploy import Request, deploy, roll_back
from chandlery.deployments.sample import sample_request
from chandlery.deployments.spec import node_name
from chandlery.files import write_text
from chandlery.registry import download
from chandlery.resources.port import Document
from chandlery.runs import note


class Artifact(Protocol):
    """What the steps need of a KFP artifact."""

    path: str
    metadata: dict[str, Any]


class DeployOutputs(NamedTuple):
    """Outputs of `deploy_model`."""

    endpoint: str
    strategy: str
    changed: str
    reason: str


class RollbackOutputs(NamedTuple):
    """Outputs of `rollback_deployment`."""

    version: str
    previous_version: str
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
    _write(document, done.document)
    note(
        {
            "endpoint": done.endpoint,
            "deployment": request.name,
            "deployment_reason": done.reason,
            "curl": _curl(request, done.version),
        }
    )
    return DeployOutputs(done.endpoint, done.strategy, _yes(done.changed), done.reason)


def rollback_deployment(
    deployment: str, namespace: str, to_version: str, reason: str, deadline_seconds: float, document: Artifact
) -> RollbackOutputs:
    """Roll a deployment back; see `chandlery.deployments.deploy.roll_back`."""
    done = roll_back(deployment, namespace, to_version, reason, deadline_seconds)
    _write(document, done.document)
    return RollbackOutputs(done.version, done.previous, _yes(done.changed), done.reason)


def _write(artifact: Artifact, document: Document) -> None:
    import yaml

    write_text(Path(artifact.path), yaml.safe_dump(document, sort_keys=False, width=110))
    artifact.metadata.update(provenance.read(document["metadata"].get("annotations", {})).metadata())


def _curl(request: Request, version: str) -> str:
    package = download(request.model_name, version)
    gateway = addresses.require_gateway()
    rows = sample_request(package)
    return curl_line(
        gateway, request.where, request.name, rows, request.protocol, node_name(request.model_name)
    )


def _text(value: object) -> str:
    # kfp hands every number of a dict over as a float.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
