"""The desired state: what a SeldonDeployment document asks this controller to run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chandlery.errors import InvalidDocumentError
from chandlery.resources.port import Document
from chandlery.resources.seldon_deployment import check_document

DEFAULT_PROGRESS_SECONDS = 600  # Kubernetes' own progressDeadlineSeconds


@dataclass(frozen=True)
class Predictor:
    """One predictor of a document.

    Attributes:
        name: its name, `v12`.
        weight: percent of the traffic; of a shadow, percent of the requests that it sees.
        shadow: it gets copies and never answers.
        replicas: servers to run.
        container: name of its one container, the graph's node.
        environment: variables of a server, as Seldon's operator gives them.
        progress_seconds: how long a server may take to become ready.
        digest: equal digests need no restart; it does not cover traffic and replicas.
    """

    name: str
    weight: int
    shadow: bool
    replicas: int
    container: str
    environment: Mapping[str, str]
    progress_seconds: float
    digest: str


@dataclass(frozen=True)
class Desired:
    """One deployment as asked for."""

    namespace: str
    name: str
    uid: str
    generation: int
    predictors: tuple[Predictor, ...]


def desired(document: Document) -> Desired:
    """Read a document.

    Raises:
        InvalidDocumentError: it is not valid, or asks for what only a cluster has.
    """
    check_document(document)
    metadata, body = document["metadata"], document["spec"]
    answering = [p for p in body["predictors"] if not p.get("shadow")]
    return Desired(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        predictors=tuple(
            _predictor(document, predictor, only=len(answering) == 1) for predictor in body["predictors"]
        ),
    )


def _predictor(document: Document, predictor: Mapping[str, Any], *, only: bool) -> Predictor:
    name, graph, shadow = predictor["name"], predictor["graph"], bool(predictor.get("shadow"))
    if graph.get("implementation") not in (None, "", "UNKNOWN_IMPLEMENTATION"):
        raise InvalidDocumentError(
            f"predictor {name}: the server {graph['implementation']} runs on a cluster only",
            "give the graph's container MODEL_URI and leave implementation out",
        )
    container = _container(predictor)
    environment = _environment(document, predictor, container)
    if not environment.get("MODEL_URI"):
        raise InvalidDocumentError(
            f"predictor {name}: its container {graph['name']!r} has no MODEL_URI",
            "models:/name/version or a folder",
        )
    identity = json.dumps([environment, container.get("image", "")], sort_keys=True)
    return Predictor(
        name=name,
        weight=_weight(predictor.get("traffic"), shadow=shadow, only=only),
        shadow=shadow,
        replicas=int(predictor.get("replicas", document["spec"].get("replicas", 1))),
        container=graph["name"],
        environment=environment,
        progress_seconds=float(predictor.get("progressDeadlineSeconds", DEFAULT_PROGRESS_SECONDS)),
        digest=hashlib.sha256(identity.encode()).hexdigest()[:16],
    )


def _weight(traffic: int | None, *, shadow: bool, only: bool) -> int:
    if shadow:
        return int(traffic or 100)  # percent of the requests that it sees
    if only:
        return 100
    return int(traffic or 0)


def _container(predictor: Mapping[str, Any]) -> Mapping[str, Any]:
    found: list[Mapping[str, Any]] = [
        container
        for component in predictor.get("componentSpecs") or []
        for container in component.get("spec", {}).get("containers") or []
    ]
    named = [container for container in found if container["name"] == predictor["graph"]["name"]]
    if not named or len(found) > 1:
        raise InvalidDocumentError(
            f"predictor {predictor['name']}: containers {[c['name'] for c in found]} for the graph's node "
            f"{predictor['graph']['name']!r}",
            "give it one container, named as the node",
        )
    return named[0]


def _environment(
    document: Document, predictor: Mapping[str, Any], container: Mapping[str, Any]
) -> dict[str, str]:
    """Return the container's own variables and those that Seldon's operator adds; ports come with the process."""
    metadata = document["metadata"]
    environment = {}
    for variable in container.get("env") or []:
        if "valueFrom" in variable:
            raise InvalidDocumentError(
                f"predictor {predictor['name']}: variable {variable['name']} comes from a cluster's object",
                "give it a value, or set it where the platform is started",
            )
        environment[variable["name"]] = str(variable.get("value", ""))
    if predictor["graph"].get("modelUri"):
        environment.setdefault("MODEL_URI", predictor["graph"]["modelUri"])
    environment |= {
        "SELDON_DEPLOYMENT_ID": metadata["name"],
        "SELDON_NAMESPACE": metadata["namespace"],
        "PREDICTOR_ID": predictor["name"],
        "PREDICTIVE_UNIT_ID": predictor["graph"]["name"],
        "PREDICTIVE_UNIT_IMAGE": container.get("image", ""),
        "PREDICTIVE_UNIT_PARAMETERS": json.dumps(predictor["graph"].get("parameters") or []),
        "PREDICTOR_LABELS": json.dumps(predictor.get("labels") or {}),
        "HOST": "127.0.0.1",
    }
    return environment
