"""The specification of a deployment, and its form as a SeldonDeployment.

Predictors are named by model version (`v12`), stable first: a promotion then removes a predictor and restarts
nothing, and Ambassador, which gives the first predictor whatever the others leave, agrees with Istio. A predictor
of weight 0 is never written: Ambassador drops such a weight and splits evenly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chandlery import provenance
from chandlery.addresses import CONFIG_MAP, SECRET
from chandlery.catalog import IMAGE
from chandlery.errors import InvalidDocumentError
from chandlery.provenance import Provenance
from chandlery.resources.port import SELDON_DEPLOYMENT, Document
from chandlery.resources.seldon_deployment import _LABEL, check_document

STRATEGIES = ("replace", "canary", "ab", "shadow")

STRATEGY_ANNOTATION = f"{provenance.PREFIX}strategy"
VERSION_ANNOTATION = "version"  # where Seldon's executor reads predictor_version for its metrics

_OWN_VARIABLES = ("MODEL_URI", "MODEL_NAME", "MODEL_VERSION")
_REST_TIMEOUT_MS = "30000"  # Ambassador's own default is 3 s


@dataclass(frozen=True)
class Variant:
    """One model version that answers requests.

    Attributes:
        version: model version in the registry, `12`.
        uri: where its package is: `models:/name/12` or a folder.
        weight: percent of the traffic, 1 to 100; of a shadow, percent of the requests that it sees.
        image: container image of its server; empty for ours.
    """

    version: str
    uri: str
    weight: int
    image: str = ""

    @property
    def predictor(self) -> str:
        """Name of its predictor: `v12`."""
        return predictor_name(self.version)


@dataclass(frozen=True)
class ServingSpec:
    """One deployment: variants, how the traffic is shared, how it is run.

    Attributes:
        name: name of the SeldonDeployment.
        namespace: its Kubernetes namespace.
        model_name: name of the registered model, the `<model>` of `/v2/models/<model>/infer`.
        variants: the versions that answer, stable first; weights add up to 100.
        shadow: the version that gets a copy of the requests and whose answers are dropped.
        strategy: `replace`, `canary`, `ab` or `shadow`.
        protocol: `seldon` (v1) or `v2` (Open Inference Protocol).
        replicas: servers of each variant.
        cpu: CPU request of a server, in Kubernetes' units.
        memory: memory request of a server.
        cpu_limit: CPU limit; empty for none.
        memory_limit: memory limit; empty for none.
        environment: further variables of the servers.
        provenance: where the newest variant came from.
    """

    name: str
    namespace: str
    model_name: str
    variants: tuple[Variant, ...]
    shadow: Variant | None = None
    strategy: str = "replace"
    protocol: str = "seldon"
    replicas: int = 1
    cpu: str = "250m"
    memory: str = "1Gi"
    cpu_limit: str = ""
    memory_limit: str = "2Gi"
    environment: tuple[tuple[str, str], ...] = ()
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def stable(self) -> Variant:
        """The variant that the others are compared with: the first."""
        return self.variants[0]

    @property
    def weights(self) -> dict[str, int]:
        """Percent of the traffic by predictor name, shadow left out."""
        return {variant.predictor: variant.weight for variant in self.variants}

    def with_(self, **changes: Any) -> ServingSpec:
        """Return a copy with the given fields changed."""
        return replace(self, **changes)


def predictor_name(version: str) -> str:
    """Return the predictor name of a model version: `12` -> `v12`."""
    return f"v{version}"


def to_seldon(spec: ServingSpec) -> Document:
    """Return the SeldonDeployment document of a spec.

    Raises:
        InvalidDocumentError: the spec breaks a rule; the message names it.
    """
    _check_spec(spec)
    predictors = [_predictor(spec, variant, shadow=False) for variant in spec.variants]
    if spec.shadow:
        predictors.append(_predictor(spec, spec.shadow, shadow=True))
    document: Document = {
        "apiVersion": SELDON_DEPLOYMENT.api_version,
        "kind": SELDON_DEPLOYMENT.kind,
        "metadata": {
            "name": spec.name,
            "namespace": spec.namespace,
            "labels": {"app.kubernetes.io/managed-by": "chandlery"},
            "annotations": spec.provenance.annotations() | {STRATEGY_ANNOTATION: spec.strategy},
        },
        "spec": {
            "protocol": spec.protocol,
            "transport": "rest",
            "annotations": {"seldon.io/rest-timeout": _REST_TIMEOUT_MS},
            "predictors": predictors,
        },
    }
    check_document(document)
    return document


def from_seldon(document: Mapping[str, Any]) -> ServingSpec:
    """Return the spec of a document that `to_seldon` could have written.

    Raises:
        InvalidDocumentError: the document is not valid, or has a shape that a spec cannot express.
    """
    check_document(document)
    metadata, body = document["metadata"], document["spec"]
    annotations = metadata.get("annotations", {})
    variants = tuple(_variant(p) for p in body["predictors"] if not p.get("shadow"))
    shadows = [_variant(p) for p in body["predictors"] if p.get("shadow")]
    container = _container(body["predictors"][0])
    resources = container.get("resources", {})
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    environment = _environment(container)
    return ServingSpec(
        name=metadata["name"],
        namespace=metadata.get("namespace", "default"),
        model_name=environment.get("MODEL_NAME", container["name"]),
        variants=variants,
        shadow=shadows[0] if shadows else None,
        strategy=_strategy(len(variants), bool(shadows), annotations.get(STRATEGY_ANNOTATION, "")),
        protocol=body.get("protocol") or "seldon",
        replicas=int(body["predictors"][0].get("replicas", 1)),
        cpu=str(requests.get("cpu", "")),
        memory=str(requests.get("memory", "")),
        cpu_limit=str(limits.get("cpu", "")),
        memory_limit=str(limits.get("memory", "")),
        environment=tuple((name, value) for name, value in environment.items() if name not in _OWN_VARIABLES),
        provenance=provenance.read(annotations),
    )


def _check_spec(spec: ServingSpec) -> None:
    if spec.strategy not in STRATEGIES:
        raise InvalidDocumentError(
            f"{spec.name}: unknown strategy {spec.strategy!r}", f"valid strategies: {', '.join(STRATEGIES)}"
        )
    if len(spec.name) > 63 or not _LABEL.fullmatch(spec.name):
        raise InvalidDocumentError(
            f"deployment name {spec.name!r} is not valid",
            "use up to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
        )
    expected = _strategy(len(spec.variants), spec.shadow is not None, spec.strategy)
    if spec.strategy != expected:
        raise InvalidDocumentError(
            f"{spec.name}: strategy {spec.strategy} does not fit {len(spec.variants)} variant(s) "
            f"{'with' if spec.shadow else 'and no'} shadow",
            "replace takes one variant, canary and ab two or more, shadow a shadow beside them",
        )
    for variant in (*spec.variants, *([spec.shadow] if spec.shadow else [])):
        if not variant.uri:
            raise InvalidDocumentError(
                f"{spec.name}: version {variant.version} has no uri", "models:/name/version"
            )
        if not 1 <= variant.weight <= 100:
            raise InvalidDocumentError(
                f"{spec.name}: version {variant.version} has weight {variant.weight}",
                "use 1 to 100 percent; leave a variant without traffic out",
            )


def _strategy(answering: int, shadow: bool, written: str) -> str:
    if shadow:
        return "shadow"
    if answering == 1:
        return "replace"
    return written if written in ("canary", "ab") else "canary"


def _predictor(spec: ServingSpec, variant: Variant, *, shadow: bool) -> Document:
    node = node_name(spec.model_name)
    predictor: Document = {
        "name": variant.predictor,
        "replicas": spec.replicas,
        "traffic": variant.weight,
        "annotations": {VERSION_ANNOTATION: variant.version},
        "graph": {"name": node, "type": "MODEL", "children": []},
        "componentSpecs": [{"spec": {"containers": [_server(spec, variant, node)]}}],
    }
    if shadow:
        predictor["shadow"] = True
    return predictor


def _server(spec: ServingSpec, variant: Variant, node: str) -> Document:
    # The URI is a variable and no graph.modelUri: that would start Seldon's rclone, which cannot read models:/.
    variables = {
        "MODEL_URI": variant.uri,
        "MODEL_NAME": spec.model_name,
        "MODEL_VERSION": variant.version,
        **dict(spec.environment),
    }
    requests = {name: value for name, value in (("cpu", spec.cpu), ("memory", spec.memory)) if value}
    limits = {
        name: value for name, value in (("cpu", spec.cpu_limit), ("memory", spec.memory_limit)) if value
    }
    return {
        "name": node,
        "image": variant.image or IMAGE,
        "command": ["python", "-m", "chandlery.server"],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "envFrom": [
            {"configMapRef": {"name": CONFIG_MAP, "optional": True}},
            {"secretRef": {"name": SECRET, "optional": True}},
        ],
        "resources": {"requests": requests, "limits": limits},
        # A TensorFlow model needs tens of seconds to load; Seldon's default probe gives up before.
        "readinessProbe": {
            "httpGet": {"path": "/v2/health/ready", "port": "http"},
            "periodSeconds": 2,
            "failureThreshold": 150,
        },
    }


def node_name(model_name: str) -> str:
    """Return the graph node of a registered model: its name as a DNS label, as Kubernetes wants of a container."""
    label = re.sub(r"[^a-z0-9]+", "-", model_name.lower()).strip("-")[:63].rstrip("-")
    if not label:
        raise InvalidDocumentError(f"model name {model_name!r} has no letter or digit", "rename the model")
    return label


def _variant(predictor: Mapping[str, Any]) -> Variant:
    name = predictor["name"]
    version = str(predictor.get("annotations", {}).get(VERSION_ANNOTATION, name.removeprefix("v")))
    container = _container(predictor)
    uri = _environment(container).get("MODEL_URI") or predictor["graph"].get("modelUri", "")
    if predictor_name(version) != name or not uri:
        raise InvalidDocumentError(
            f"predictor {name!r} was not written by Chandlery: version {version!r}, uri {uri!r}",
            "name predictors v<model version> and give their container MODEL_URI",
        )
    image = container.get("image", "")
    return Variant(version, uri, int(predictor.get("traffic", 100)), "" if image == IMAGE else image)


def _container(predictor: Mapping[str, Any]) -> Mapping[str, Any]:
    node = predictor["graph"]["name"]
    for component in predictor.get("componentSpecs") or []:
        for container in component.get("spec", {}).get("containers") or []:
            if container.get("name") == node:
                found: Mapping[str, Any] = container
                return found
    return {"name": node}


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {e["name"]: str(e["value"]) for e in container.get("env") or [] if "value" in e}
