"""The SeldonDeployment document: its shape, the rules that both sides hold it to, the names of what is written into it.

The client checks a document before it applies it, a controller before it acts on it. The published schema stays the
independent judge of these rules (tests/contract).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from chandlery.errors import InvalidDocumentError
from chandlery.provenance import PREFIX
from chandlery.resources.port import SELDON_DEPLOYMENT
from chandlery.resources.shape import NUMBER, SCALAR, TEXT, WHOLE, check_shape

PROTOCOLS = ("seldon", "v2")

# The status annotation in which a controller reports the traffic that the gateway has taken up.
IN_FORCE_ANNOTATION = f"{PREFIX}in-force"

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_RESOURCES = {"requests": {"*": SCALAR}, "limits": {"*": SCALAR}}
_CONTAINER = {"name!": TEXT, "image": TEXT, "env": [{"name!": TEXT}], "resources": _RESOURCES}
_PREDICTOR = {
    "graph": {"name": TEXT, "modelUri": TEXT, "implementation": TEXT},
    "annotations": {"*": TEXT},
    "componentSpecs": [{"spec": {"containers": [_CONTAINER]}}],
    "progressDeadlineSeconds": NUMBER,
    "traffic": NUMBER,
    "replicas": WHOLE,
}
_SHAPE = {
    "metadata!": {"name!": TEXT, "namespace": TEXT, "annotations": {"*": TEXT}, "labels": {"*": TEXT}},
    "spec": {"predictors": [_PREDICTOR], "protocol": TEXT, "replicas": WHOLE},
}


def read_in_force(status: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a status reports in `IN_FORCE_ANNOTATION`; None when it reports nothing.

    Args:
        status: the status of a SeldonDeployment.

    Returns:
        `observed` and `generation` of the document, and `weights` by predictor.
    """
    text = (status.get("annotations") or {}).get(IN_FORCE_ANNOTATION)
    if not text:
        return None
    in_force: dict[str, Any] = json.loads(text)
    return in_force


def check_document(document: Mapping[str, Any]) -> None:
    """Check what Seldon's admission webhook checks, and our own rules on weights.

    Raises:
        InvalidDocumentError: with the rule that is broken.
    """
    check_shape(document, _SHAPE)
    name = str(document.get("metadata", {}).get("name", ""))
    if (document.get("apiVersion"), document.get("kind")) != (
        SELDON_DEPLOYMENT.api_version,
        SELDON_DEPLOYMENT.kind,
    ):
        raise InvalidDocumentError(
            f"{name}: not a SeldonDeployment: {document.get('apiVersion')} {document.get('kind')}",
            f"expected {SELDON_DEPLOYMENT.api_version} {SELDON_DEPLOYMENT.kind}",
        )
    body = document.get("spec") or {}
    predictors = body.get("predictors") or []
    if not predictors:
        raise InvalidDocumentError(f"{name}: no predictors", "name at least one in spec.predictors")
    if (body.get("protocol") or "seldon") not in PROTOCOLS:
        raise InvalidDocumentError(
            f"{name}: unknown protocol {body['protocol']!r}", f"valid protocols: {', '.join(PROTOCOLS)}"
        )
    for predictor in predictors:
        _check_predictor(name, predictor)
    names = [predictor["name"] for predictor in predictors]
    if len(set(names)) != len(names):
        raise InvalidDocumentError(f"{name}: predictor names repeat: {', '.join(names)}", "make them unique")
    _check_traffic(name, predictors)


def _check_predictor(name: str, predictor: Mapping[str, Any]) -> None:
    own = predictor.get("name")
    if not isinstance(own, str) or len(own) > 63 or not _LABEL.fullmatch(own):
        raise InvalidDocumentError(
            f"{name}: predictor name {own!r} is not valid", "use lower-case letters, digits and '-': v12"
        )
    node = (predictor.get("graph") or {}).get("name")
    if not node:
        raise InvalidDocumentError(f"{name}/{own}: its graph has no name", "name its one model node")
    if (predictor.get("graph") or {}).get("children"):
        raise InvalidDocumentError(
            f"{name}/{own}: a graph of several nodes is not supported", "serve one model a predictor"
        )
    replicas = predictor.get("replicas", 1)
    if not isinstance(replicas, int) or replicas < 1:
        raise InvalidDocumentError(f"{name}/{own}: replicas is {replicas!r}", "use a whole number from 1")


def _check_traffic(name: str, predictors: list[Mapping[str, Any]]) -> None:
    answering = [p for p in predictors if not p.get("shadow")]
    shadows = [p for p in predictors if p.get("shadow")]
    if len(shadows) > 1:
        raise InvalidDocumentError(
            f"{name}: {len(shadows)} shadows", "Seldon mirrors to one: remove the others"
        )
    if not answering:
        raise InvalidDocumentError(
            f"{name}: no predictor answers: the only one is a shadow", "add a stable one"
        )
    if len(answering) == 1:
        if answering[0].get("traffic", 100) != 100:
            raise InvalidDocumentError(
                f"{name}: its only predictor has traffic {answering[0]['traffic']}", "give it 100"
            )
        return
    weights = {str(p["name"]): p.get("traffic", 0) for p in answering}
    if any(not isinstance(weight, int) or isinstance(weight, bool) for weight in weights.values()):
        raise InvalidDocumentError(
            f"{name}: weights must be whole percents: {weights}", "1 is the smallest step"
        )
    if min(weights.values()) < 1:
        raise InvalidDocumentError(
            f"{name}: a predictor without traffic: {weights}",
            "remove it: a weight of 0 becomes 50:50 in Ambassador",
        )
    if sum(weights.values()) != 100:
        raise InvalidDocumentError(
            f"{name}: weights add up to {sum(weights.values())}: {weights}", "make it 100"
        )
