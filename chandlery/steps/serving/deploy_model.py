"""The body of `deploy_model`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from chandlery import addresses, provenance
from chandlery.deployments.client import DeploymentAddress, curl_line
from chandlery.deployments.deploy import DeployRequest, deploy
from chandlery.deployments.sample import sample_request
from chandlery.deployments.spec import node_name
from chandlery.registry import download
from chandlery.runs import RunFacts, note
from chandlery.runs.journal import run_folder
from chandlery.steps.artifacts import Artifact, write_document, yes

__all__ = ["DeployRequest", "deploy_model"]


class DeployOutputs(NamedTuple):
    """Outputs of `deploy_model`; KFP reads them by these names."""

    endpoint: str
    strategy: str
    changed: str
    reason: str


def deploy_model(request: DeployRequest, document: Artifact) -> DeployOutputs:
    """Deploy a model version and write the SeldonDeployment that serves it.

    Args:
        request: the parameters of the component.
        document: artifact to write the SeldonDeployment to, YAML.
    """
    done = deploy(request)
    write_document(document, done.document)
    note(RunFacts(endpoint=done.endpoint, deployment=request.name, curl=_curl(request, done.version)))
    return DeployOutputs(done.endpoint, done.strategy, yes(done.changed), done.reason)


def _curl(request: DeployRequest, version: str) -> str:
    address = DeploymentAddress(
        addresses.require_gateway(),
        request.where,
        request.name,
        request.protocol,
        node_name(request.model_name),
    )
    return curl_line(address, sample_request(download(request.model_name, version)), _requests_folder())


def _requests_folder() -> Path:
    """Return where a request too long for the command line is kept: with the run's record, or in the home."""
    run_id = provenance.current().run_id
    return (run_folder(run_id) if run_id else addresses.home()) / "examples"
