"""SeldonDeployments: apply, observe, wait, move the traffic.

Seldon never sets `status.observedGeneration`, so "Available" right after a change does not cover the change.
Ready means here: state Available, every Deployment that belongs to it rolled out, the split in force equal to the
split asked for, and the gateway lets a request through to each predictor.

The split in force is read where the target keeps it: in the VirtualService behind Istio, in `status.annotations`
where the target writes it there (the laptop's controller does).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chandlery import addresses, progress
from chandlery.deployments.spec import STRATEGY_ANNOTATION, ServingSpec, from_seldon, to_seldon
from chandlery.errors import (
    ConflictError,
    DeadlineError,
    InvalidDocumentError,
    NotFoundError,
    ServingError,
)
from chandlery.resources.headers import ROUTE
from chandlery.resources.port import SELDON_DEPLOYMENT, Document, Kind, ResourceStore
from chandlery.resources.seldon_deployment import check_document, read_in_force

OWNER = "chandlery"
TRAFFIC_OWNER = "chandlery-traffic"

DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
VIRTUAL_SERVICE = Kind("networking.istio.io", "v1beta1", "VirtualService", "virtualservices")

_FIRST_WAIT_SECONDS = 0.02
_LONGEST_WAIT_SECONDS = 1.0
_REPORT_SECONDS = 5.0
# Where a status names no generation, "Failed" may still be that of the document before.
_STALE_SECONDS = 10.0

Reporter = Callable[..., None]


@dataclass(frozen=True)
class Observation:
    """State of a deployment at one moment.

    Attributes:
        state: `Available`, `Creating`, `Failed`, or empty while nothing has looked at it.
        description: the controller's message; of a failure, the server's last lines.
        wanted: weights asked for, by predictor, shadow left out.
        in_force: weights that the gateway applies; None when they cannot be read.
        up_to_date: the state speaks of the newest document, not of one before.
        rolled_out: the servers of the newest document run and are ready.
        url: address that the target gives it.
    """

    state: str
    description: str
    wanted: Mapping[str, int] = field(default_factory=dict)
    in_force: Mapping[str, int] | None = None
    up_to_date: bool = False
    rolled_out: bool = False
    url: str = ""

    @property
    def ready(self) -> bool:
        """The newest document is what serves."""
        return (
            self.state == "Available"
            and self.up_to_date
            and self.rolled_out
            and self.in_force is not None
            and dict(self.in_force) == dict(self.wanted)
        )


def apply(store: ResourceStore, spec: ServingSpec, deadline: float = 60.0) -> Document:
    """Write the document of `spec`, or change the one that is there. Applying the same again changes nothing.

    Args:
        store: where the resources are.
        spec: what is to be served.
        deadline: seconds until a conflict with another writer is given up.

    Returns:
        the stored document. It is not served yet: see `wait_ready`.

    Raises:
        InvalidDocumentError: the spec breaks a rule.
        ConflictError: others kept changing the document until the deadline.
    """
    document = to_seldon(spec)
    return _insist(lambda: store.apply(document, owner=OWNER, force=True), deadline)


def current(store: ResourceStore, name: str, namespace: str) -> ServingSpec | None:
    """Return what the document asks for now; None when there is no such deployment."""
    try:
        document = store.get(SELDON_DEPLOYMENT, name, namespace)
    except NotFoundError:
        return None
    return from_seldon(document)


def observe(store: ResourceStore, name: str, namespace: str) -> Observation:
    """Return the state of a deployment now.

    Raises:
        NotFoundError: there is no such deployment.
    """
    document = store.get(SELDON_DEPLOYMENT, name, namespace)
    status = document.get("status") or {}
    in_force = read_in_force(status)
    wanted = _weights(document)
    common: dict[str, Any] = {
        "state": str(status.get("state", "")),
        "description": str(status.get("description", "")),
        "wanted": wanted,
        "url": str((status.get("address") or {}).get("url", "")),
    }
    generation = document["metadata"].get("generation", 0)
    if in_force is not None:
        return Observation(
            **common,
            in_force=in_force.get("weights"),
            up_to_date=in_force.get("observed", 0) >= generation,
            rolled_out=in_force.get("generation", 0) >= generation,
        )
    rolled_out = _deployments_rolled_out(store, name, namespace, list(wanted))
    return Observation(
        **common,
        in_force=_istio_weights(store, name, namespace),
        up_to_date=rolled_out,
        rolled_out=rolled_out,
    )


def wait_ready(
    store: ResourceStore,
    name: str,
    namespace: str,
    deadline: float = 300.0,
    report: Reporter = progress.report,
    gateway: str = "",
) -> Observation:
    """Wait until the newest document of a deployment is what serves.

    Args:
        store: where the resources are.
        name: name of the deployment.
        namespace: its namespace.
        deadline: seconds to wait at most.
        report: called as `report(event, message, **fields)` at least every 10 s.
        gateway: base URL of the gateway to probe; empty: the one of the endpoints, none when that is empty too.

    Returns:
        the observation that was ready.

    Raises:
        ServingError: it failed; the message has its server's last lines.
        DeadlineError: it was not ready in time; with what was missing.
        NotFoundError: there is no such deployment.
    """
    began = time.monotonic()
    seen = _wait(store, name, namespace, deadline, report)
    base = gateway or addresses.endpoints().gateway
    if base:
        for predictor in seen.wanted:
            _probe(base.rstrip("/"), namespace, name, predictor, began + deadline)
    return seen


def set_weights(
    store: ResourceStore, name: str, namespace: str, weights: Mapping[str, int], deadline: float = 30.0
) -> float:
    """Give each predictor its share of the traffic and return when the gateway applies it. No server restarts.

    Args:
        store: where the resources are.
        name: name of the deployment.
        namespace: its namespace.
        weights: whole percents by predictor name, all of them (shadow left out), adding up to 100.
        deadline: seconds to wait at most.

    Returns:
        seconds from the call until the split was in force.

    Raises:
        InvalidDocumentError: the weights do not fit the deployment.
        DeadlineError: the split was not in force in time.
    """
    began = time.monotonic()

    def change(predictors: list[Document]) -> list[Document]:
        named = {p["name"] for p in predictors if not p.get("shadow")}
        if named != set(weights):
            raise InvalidDocumentError(
                f"{name}: weights for {', '.join(sorted(weights))} do not fit its predictors",
                f"give one for each of {', '.join(sorted(named))}",
            )
        return [p if p.get("shadow") else {**p, "traffic": int(weights[p["name"]])} for p in predictors]

    _change_predictors(store, name, namespace, change, deadline)
    _wait_split(store, name, namespace, weights, deadline - (time.monotonic() - began))
    return time.monotonic() - began


def remove_predictor(
    store: ResourceStore, name: str, namespace: str, predictor: str, deadline: float = 60.0
) -> bool:
    """Take a predictor (or the shadow) out; the others share its traffic in proportion. Servers of others stay.

    Args:
        store: where the resources are.
        name: name of the deployment.
        namespace: its namespace.
        predictor: name of the predictor, `v13`.
        deadline: seconds to wait at most until the gateway applies it.

    Returns:
        whether it was there.

    Raises:
        InvalidDocumentError: it is the only one that answers.
        DeadlineError: the change was not in force in time.
    """
    began = time.monotonic()
    removed = False

    def change(predictors: list[Document]) -> list[Document]:
        nonlocal removed
        rest = [p for p in predictors if p["name"] != predictor]
        removed = len(rest) < len(predictors)
        answering = [p for p in rest if not p.get("shadow")]
        if not answering:
            raise InvalidDocumentError(
                f"{name}: {predictor} is the only predictor that answers",
                "deploy another version first, or delete the deployment",
            )
        shares = _shares([int(p.get("traffic", 100)) for p in answering])
        by_name = dict(zip([p["name"] for p in answering], shares, strict=True))
        return [p if p.get("shadow") else {**p, "traffic": by_name[p["name"]]} for p in rest]

    document = _change_predictors(store, name, namespace, change, deadline)
    _wait_split(store, name, namespace, _weights(document), deadline - (time.monotonic() - began))
    return removed


def read_annotation(store: ResourceStore, name: str, namespace: str, key: str) -> str:
    """Return the annotation `key` (with its prefix, `chandlery.io/canary`) of a deployment; empty when not set.

    Raises:
        NotFoundError: there is no such deployment.
    """
    document = store.get(SELDON_DEPLOYMENT, name, namespace)
    return str((document["metadata"].get("annotations") or {}).get(key, ""))


def write_annotation(store: ResourceStore, name: str, namespace: str, key: str, value: str) -> None:
    """Set the annotation `key` of a deployment, or remove it with an empty value. Nothing restarts.

    Each key has an owner of its own, so that applying the deployment again leaves it alone.

    Raises:
        NotFoundError: there is no such deployment.
    """
    document = store.get(SELDON_DEPLOYMENT, name, namespace)
    metadata: Document = {"name": name, "namespace": namespace, "uid": document["metadata"]["uid"]}
    if value:
        metadata["annotations"] = {key: value}
    store.apply(
        {"apiVersion": SELDON_DEPLOYMENT.api_version, "kind": SELDON_DEPLOYMENT.kind, "metadata": metadata},
        owner=f"chandlery-note-{key.rpartition('/')[2]}",
        force=True,
    )


def _change_predictors(
    store: ResourceStore,
    name: str,
    namespace: str,
    change: Callable[[list[Document]], list[Document]],
    deadline: float,
) -> Document:
    """Apply `change` to the predictors that are there, against concurrent changes of others."""

    def once() -> Document:
        live = store.get(SELDON_DEPLOYMENT, name, namespace)
        predictors = change(live["spec"]["predictors"])
        changed = {**live, "spec": {**live["spec"], "predictors": predictors}}
        check_document(changed)
        config = {
            "apiVersion": live["apiVersion"],
            "kind": live["kind"],
            "metadata": {
                "name": name,
                "namespace": namespace,
                "resourceVersion": live["metadata"]["resourceVersion"],
            },
            "spec": {"predictors": predictors},
        }
        return store.apply(config, owner=TRAFFIC_OWNER, force=True)

    return _insist(once, deadline)


def _insist(write: Callable[[], Document], deadline: float) -> Document:
    # The controller writes the status of the same resource, so a conflict is normal.
    end = time.monotonic() + deadline
    while True:
        try:
            return write()
        except ConflictError:
            if time.monotonic() >= end:
                raise
        time.sleep(_FIRST_WAIT_SECONDS)


def _wait(store: ResourceStore, name: str, namespace: str, deadline: float, report: Reporter) -> Observation:
    began = time.monotonic()
    reported, pause = began, _FIRST_WAIT_SECONDS
    while True:
        seen = observe(store, name, namespace)
        if seen.ready:
            return seen
        waited = time.monotonic() - began
        if seen.state == "Failed" and (seen.up_to_date or waited > _STALE_SECONDS):
            raise _failure(namespace, name, seen)
        if waited > deadline:
            raise DeadlineError(
                f"deployment {namespace}/{name} was not ready after {deadline:.0f} s: {_missing(seen)}",
                seen.description or "look at the logs of its servers, or give it more time",
            )
        if time.monotonic() - reported > _REPORT_SECONDS:
            reported = time.monotonic()
            report(
                "deployment.waiting",
                f"waiting for {name} ({waited:.0f} s): {_missing(seen)}",
                deployment=name,
                state=seen.state,
            )
        time.sleep(pause)
        pause = min(pause * 1.3, _LONGEST_WAIT_SECONDS)


def _wait_split(
    store: ResourceStore, name: str, namespace: str, weights: Mapping[str, int], deadline: float
) -> None:
    """Wait for the split alone: a predictor that is down must not keep the traffic from moving away from it."""
    end = time.monotonic() + deadline
    pause = _FIRST_WAIT_SECONDS
    while True:
        seen = observe(store, name, namespace)
        if seen.in_force is not None and dict(seen.in_force) == dict(weights):
            return
        if time.monotonic() > end:
            raise DeadlineError(
                f"deployment {namespace}/{name}: the split {dict(weights)} was not in force in time: {_missing(seen)}",
                "is the gateway running? `chandlery status` shows it",
            )
        time.sleep(pause)
        pause = min(pause * 1.3, _LONGEST_WAIT_SECONDS)


def _failure(namespace: str, name: str, seen: Observation) -> ServingError:
    first, _, rest = seen.description.partition("\n")
    hint = " | ".join(line for line in rest.splitlines() if line.strip())
    return ServingError(f"deployment {namespace}/{name} failed: {first}", hint or "look at its server's log")


def _missing(seen: Observation) -> str:
    if not seen.state:
        return "nothing has looked at it yet; is the platform running?"
    if not seen.rolled_out:
        problem = seen.description.partition("\n")[0] if seen.up_to_date else ""
        return f"{seen.state}, {problem or 'servers of the new document are not all ready'}"
    if seen.in_force is None or dict(seen.in_force) != dict(seen.wanted):
        return f"{seen.state}, split in force {dict(seen.in_force or {})}, wanted {dict(seen.wanted)}"
    return seen.state


def _weights(document: Mapping[str, Any]) -> dict[str, int]:
    answering = [p for p in document["spec"]["predictors"] if not p.get("shadow")]
    if len(answering) == 1:
        return {answering[0]["name"]: 100}
    return {p["name"]: int(p.get("traffic", 0)) for p in answering}


def _shares(weights: list[int]) -> list[int]:
    """Scale whole percents to a sum of 100, each at least 1, by largest remainders."""
    total = sum(weights)
    exact = [100 * weight / total for weight in weights]
    shares = [max(1, int(value)) for value in exact]
    order = sorted(range(len(weights)), key=lambda i: int(exact[i]) - exact[i])
    for i in order[: max(0, 100 - sum(shares))]:
        shares[i] += 1
    shares[shares.index(max(shares))] += 100 - sum(shares)
    return shares


def _deployments_rolled_out(store: ResourceStore, name: str, namespace: str, predictors: list[str]) -> bool:
    found = store.list(DEPLOYMENT, namespace, f"seldon-deployment-id={name}")
    names = [document["metadata"]["name"] for document in found]
    # Seldon names them <deployment>-<predictor>-<index>-<containers>.
    if any(not any(n.startswith(f"{name}-{predictor}-") for n in names) for predictor in predictors):
        return False
    return all(_rolled_out(document) for document in found)


def _rolled_out(deployment: Document) -> bool:
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
        and status.get("updatedReplicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
    )


def _istio_weights(store: ResourceStore, name: str, namespace: str) -> dict[str, int] | None:
    try:
        service = store.get(VIRTUAL_SERVICE, name, namespace)
    except NotFoundError:
        return None
    routes = service["spec"]["http"][0].get("route", [])
    if len(routes) == 1:
        return {routes[0]["destination"]["subset"]: 100}
    return {route["destination"]["subset"]: int(route.get("weight", 0)) for route in routes}


def _probe(gateway: str, namespace: str, name: str, predictor: str, end: float) -> None:
    """Ask for the readiness of `predictor` through the gateway until it answers."""
    import httpx

    url = f"{gateway}/seldon/{namespace}/{name}/v2/health/ready"
    while True:
        try:
            answer = httpx.get(url, headers={ROUTE: predictor}, timeout=5.0)
            problem = f"HTTP {answer.status_code}"
            # Seldon's executor does not know the path under protocol seldon; its 404 came through the route too.
            through = "x-envoy-upstream-service-time" in answer.headers
            if answer.status_code < 400 or (answer.status_code == 404 and through):
                return
        except httpx.HTTPError as error:
            problem = str(error) or type(error).__name__
        if time.monotonic() > end:
            raise DeadlineError(
                f"{url} does not answer for {predictor}: {problem}", "is the gateway running and reachable?"
            )
        time.sleep(0.1)


__all__ = [
    "STRATEGY_ANNOTATION",
    "Observation",
    "apply",
    "current",
    "observe",
    "read_annotation",
    "remove_predictor",
    "set_weights",
    "wait_ready",
    "write_annotation",
]
