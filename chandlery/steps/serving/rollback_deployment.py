"""The body of `rollback_deployment`."""

from __future__ import annotations

from typing import NamedTuple

from chandlery.deployments.deploy import roll_back
from chandlery.steps.artifacts import Artifact, write_document, yes


class RollbackOutputs(NamedTuple):
    """Outputs of `rollback_deployment`."""

    version: str
    previous_version: str
    changed: str
    reason: str


def rollback_deployment(
    deployment: str, namespace: str, to_version: str, reason: str, deadline_seconds: float, document: Artifact
) -> RollbackOutputs:
    """Roll a deployment back; see `chandlery.deployments.deploy.roll_back`."""
    done = roll_back(deployment, namespace, to_version, reason, deadline_seconds)
    write_document(document, done.document)
    return RollbackOutputs(done.version, done.previous, yes(done.changed), done.reason)
