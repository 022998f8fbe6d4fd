"""The status that a SeldonDeployment gets here: the fields of Seldon's own, and what is in force."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chandlery.embedded.deployments.desired import Desired
from chandlery.resources.port import Document
from chandlery.resources.seldon_deployment import IN_FORCE_ANNOTATION, read_in_force


@dataclass(frozen=True)
class Count:
    """Servers of one predictor: wanted, and ready."""

    replicas: int
    available: int


def status(
    wanted: Desired,
    before: Mapping[str, Any],
    *,
    counts: Mapping[str, Count],
    failures: Sequence[str],
    weights: Mapping[str, int] | None,
    complete: bool,
    url: str,
    waiting_for: str,
) -> Document:
    """Return the status of a deployment. `observedGeneration` stays unset, as Seldon leaves it.

    Args:
        wanted: what the document asks for.
        before: its status so far.
        counts: servers by predictor.
        failures: what is wrong, each with its server's last lines.
        weights: split in force; None when there is none.
        complete: the newest document is what serves.
        url: base URL of the deployment behind the gateway; empty when the gateway is not known.
        waiting_for: what is missing, for a human; empty when complete.
    """
    state = "Failed" if failures else "Available" if complete else "Creating"
    last = read_in_force(before)
    served = last["generation"] if last else 0
    found: Document = {
        "state": state,
        "description": "\n".join(failures) or waiting_for,
        "replicas": sum(count.available for count in counts.values()),
        "deploymentStatus": {
            f"{wanted.name}-{p.name}-0-{p.container}": {
                "replicas": counts[p.name].replicas,
                "availableReplicas": counts[p.name].available,
            }
            for p in wanted.predictors
        },
        "serviceStatus": {
            f"{wanted.name}-{p.name}": {"svcName": f"{wanted.name}-{p.name}"} for p in wanted.predictors
        },
        "conditions": _conditions(before, state, complete, failures, waiting_for),
        "annotations": {
            IN_FORCE_ANNOTATION: json.dumps(
                {
                    "observed": wanted.generation,
                    "generation": wanted.generation if complete else served,
                    "weights": dict(weights) if weights else {},
                },
                sort_keys=True,
            )
        },
    }
    if url:
        found["address"] = {"url": f"{url}/api/v1.0/predictions"}
    return found


def refused(document: Document, message: str) -> Document:
    """Return the status of a document that cannot be served."""
    before = document.get("status") or {}
    in_force = read_in_force(before) or {"generation": 0, "weights": {}}
    in_force["observed"] = document["metadata"].get("generation", 0)
    return {
        "state": "Failed",
        "description": message,
        "conditions": _conditions(before, "Failed", False, [message], ""),
        "annotations": {IN_FORCE_ANNOTATION: json.dumps(in_force, sort_keys=True)},
    }


def _conditions(
    before: Mapping[str, Any], state: str, complete: bool, failures: Sequence[str], waiting_for: str
) -> list[Document]:
    reason = "" if complete else "Failed" if failures else "Creating"
    message = (failures[0].partition("\n")[0] if failures else waiting_for) if not complete else ""
    ready = "True" if state == "Available" else "False"
    old = {condition["type"]: condition for condition in before.get("conditions", [])}
    found = []
    for kind in ("DeploymentsReady", "Ready", "ServicesReady"):
        condition = {"type": kind, "status": ready} | (
            {"reason": reason, "message": message} if ready == "False" else {}
        )
        known = old.get(kind, {})
        same = known.get("status") == ready
        condition["lastTransitionTime"] = known["lastTransitionTime"] if same else _now()
        found.append(condition)
    return found


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
