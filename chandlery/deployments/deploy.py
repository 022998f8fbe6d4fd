"""Deploying a model version and rolling it back: decide, apply, wait until it serves, undo what fails."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from chandlery import addresses, platform
from chandlery.deployments import deployment as seldon
from chandlery.deployments.evidence import read_evidence
from chandlery.deployments.release import Release, back, release
from chandlery.deployments.spec import ServingSpec, Variant, node_name, to_seldon
from chandlery.errors import DeadlineError, NotFoundError, PlatformError, ServingError, UserError
from chandlery.numbers import whole
from chandlery.progress import report
from chandlery.provenance import PREFIX
from chandlery.provenance import current as current_provenance
from chandlery.resources.port import SELDON_DEPLOYMENT, Document, ResourceStore

ROLLBACK_ANNOTATION = f"{PREFIX}rollback"


@dataclass(frozen=True)
class DeployRequest:
    """A version to deploy, and how.

    Attributes:
        model_name: registered model.
        version: its version, or an alias.
        deployment: name of the deployment; empty: the model's.
        namespace: its namespace; empty: the platform's.
        strategy: `replace`, `canary`, `ab` or `shadow`.
        weight: the newcomer's percent; 0 for the strategy's own.
        protocol: `seldon` or `v2`.
        replicas: servers of each variant.
        image: container image of the server; empty for ours.
        cpu: CPU request; empty for the default.
        memory: memory request; empty for the default.
        environment: further variables of the servers; numbers arrive from KFP as floats.
        deadline_seconds: seconds until it must serve.
    """

    model_name: str
    version: str
    deployment: str = ""
    namespace: str = ""
    strategy: str = "replace"
    weight: int = 0
    protocol: str = "seldon"
    replicas: int = 1
    image: str = ""
    cpu: str = ""
    memory: str = ""
    environment: Mapping[str, object] = field(default_factory=dict)
    deadline_seconds: float = 600.0

    @property
    def name(self) -> str:
        """Name of the deployment."""
        return self.deployment or node_name(self.model_name)

    @property
    def where(self) -> str:
        """Namespace of the deployment."""
        return self.namespace or addresses.endpoints().namespace


@dataclass(frozen=True)
class Deployed:
    """Result of a deployment or a rollback.

    Attributes:
        endpoint: base URL of the deployment behind the gateway.
        strategy: strategy used.
        version: the version deployed, or the one that serves alone after a rollback.
        previous: the stable version before; empty for none.
        changed: anything was changed.
        reason: what and why, one sentence.
        document: the SeldonDeployment.
    """

    endpoint: str
    strategy: str
    version: str
    previous: str
    changed: bool
    reason: str
    document: Document


def build_document(request: DeployRequest) -> Document:
    """Return the document that `deploy` would apply now. Nothing is changed.

    Raises:
        UserError: the request cannot be.
        NotFoundError: no such model version.
    """
    store = platform.open_resources()
    try:
        return to_seldon(_plan(store, request)[0].spec)
    finally:
        store.close()


def dry_run(arguments: Mapping[str, Any]) -> str:
    """Return the document of `deploy_model` with these arguments as YAML: what `--dry-run` prints."""
    import yaml

    names = {one.name for one in fields(DeployRequest)}
    unknown = sorted(set(arguments) - names)
    missing = sorted({"model_name", "version"} - set(arguments))
    if unknown or missing:
        what = f"unknown parameter {unknown[0]!r}" if unknown else f"parameter {missing[0]!r} is missing"
        raise UserError(f"deploy_model: {what}", "`chandlery show deploy_model` lists its parameters")
    request = DeployRequest(**arguments)
    text: str = yaml.safe_dump(build_document(request), sort_keys=False, width=110)
    return text


def deploy(request: DeployRequest) -> Deployed:
    """Deploy a model version and wait until it serves; done again it changes nothing.

    When the newcomer does not come up, what served before is put back before the error is raised: those that
    answer requests never stopped.

    Raises:
        UserError: the request cannot be.
        NotFoundError: no such model version.
        ServingError: its server failed; the message has its last lines.
        DeadlineError: it did not serve in time.
    """
    began = time.monotonic()
    addresses.require_gateway()  # refused before anything is changed
    store = platform.open_resources()
    try:
        planned, before, version = _plan(store, request)
        spec = planned.spec
        report("deployment.planned", f"{spec.name}: {planned.reason}", deployment=spec.name, version=version)
        if planned.changed:
            seldon.apply(store, spec, request.deadline_seconds)
        try:
            seldon.wait_ready(
                store,
                spec.name,
                spec.namespace,
                request.deadline_seconds - (time.monotonic() - began),
                report,
            )
        except (ServingError, DeadlineError):
            if planned.changed:
                _restore(store, before, spec)
            raise
        document = store.get(SELDON_DEPLOYMENT, spec.name, spec.namespace)
    finally:
        store.close()
    endpoint = _url(spec)
    report(
        "deployment.ready",
        f"{spec.name} serves at {endpoint}: {_split(spec)}",
        deployment=spec.name,
        weights=spec.weights,
    )
    _tell_missing_traffic(spec, endpoint)
    return Deployed(
        endpoint=endpoint,
        strategy=planned.strategy,
        version=version,
        previous=before.stable.version if before else "",
        changed=planned.changed,
        reason=planned.reason,
        document=_clean(document),
    )


def roll_back(
    name: str, namespace: str = "", to_version: str = "", reason: str = "", deadline: float = 300.0
) -> Deployed:
    """Take challengers out, or bring a version back alone; done again it changes nothing.

    Args:
        name: name of the deployment.
        namespace: its namespace; empty: the platform's.
        to_version: version that serves alone afterwards, or an alias; empty: the stable one.
        reason: why; kept on the deployment.
        deadline: seconds until it must serve.

    Raises:
        NotFoundError: no such deployment or version.
        ServingError: the version to go back to does not come up.
        DeadlineError: it did not serve in time.
    """
    where = namespace or addresses.endpoints().namespace
    began = time.monotonic()
    store = platform.open_resources()
    try:
        now = seldon.current(store, name, where)
        target = _target(now, to_version) if now and to_version else None
        planned = back(now, f"{where}/{name}", target)
        spec = planned.spec
        report("deployment.rollback", f"{name}: {planned.reason}", deployment=name, reason=reason)
        if planned.changed:
            seldon.apply(store, spec, deadline)
            note = {"time": time.time(), "to": spec.stable.version, "reason": reason}
            seldon.write_annotation(store, name, where, ROLLBACK_ANNOTATION, json.dumps(note))
        seldon.wait_ready(store, name, where, deadline - (time.monotonic() - began), report)
        document = store.get(SELDON_DEPLOYMENT, name, where)
    finally:
        store.close()
    return Deployed(
        endpoint=_url(spec),
        strategy="replace",
        version=spec.stable.version,
        previous=now.stable.version if now else "",
        changed=planned.changed,
        reason=planned.reason + (f" ({reason})" if reason and planned.changed else ""),
        document=_clean(document),
    )


def _plan(store: ResourceStore, request: DeployRequest) -> tuple[Release, ServingSpec | None, str]:
    from chandlery import registry

    info = registry.version_info(request.model_name, request.version)
    defaults = ServingSpec(request.name, request.where, request.model_name, ())
    new = ServingSpec(
        name=request.name,
        namespace=request.where,
        model_name=request.model_name,
        variants=(Variant(info.version, info.uri, 100, request.image),),
        protocol=request.protocol,
        replicas=request.replicas,
        cpu=request.cpu or defaults.cpu,
        memory=request.memory or defaults.memory,
        environment=tuple(sorted((name, str(whole(value))) for name, value in request.environment.items())),
        provenance=info.provenance.with_(run_id=current_provenance().run_id or info.provenance.run_id),
    )
    to_seldon(new)  # every rule is checked before anything is looked at
    before = seldon.current(store, request.name, request.where)
    return release(new, before, request.strategy, request.weight), before, info.version


def _tell_missing_traffic(spec: ServingSpec, endpoint: str) -> None:
    """Say that nothing will be decided between versions which no request has reached, and how to replay some."""
    if len(spec.variants) < 2:
        return
    try:
        counts = read_evidence(spec.name, spec.namespace, objective_seconds=1.0)
    except (ServingError, PlatformError, NotFoundError):
        return  # counters that cannot be read are for the canary to report
    if not any(count.requests for count in counts.values()):
        report(
            "deployment.no_traffic",
            f"{spec.name}: no request has come yet, and without traffic nothing will be decided between "
            f"{' and '.join(variant.predictor for variant in spec.variants)}: send requests to {endpoint}, or replay "
            f"labelled rows with `chandlery run replay_traffic -p model_name={spec.model_name} -p repo=...`",
        )


def _target(now: ServingSpec, to_version: str) -> Variant:
    known = [v for v in (*now.variants, *([now.shadow] if now.shadow else [])) if v.version == to_version]
    if known:
        return known[0]
    from chandlery import registry

    info = registry.version_info(now.model_name, to_version)
    return Variant(info.version, info.uri, 100, now.stable.image)


def _restore(store: ResourceStore, before: ServingSpec | None, failed: ServingSpec) -> None:
    if before is None:
        store.delete(SELDON_DEPLOYMENT, failed.name, failed.namespace)
        report("deployment.undone", f"{failed.name}: nothing served before; the deployment is removed")
        return
    seldon.apply(store, before)
    report("deployment.undone", f"{failed.name}: back to what served before: {_split(before)}")


def _split(spec: ServingSpec) -> str:
    shares = ", ".join(f"version {v.version} {v.weight} %" for v in spec.variants)
    return shares + (f", version {spec.shadow.version} as shadow" if spec.shadow else "")


def _url(spec: ServingSpec) -> str:
    return f"{addresses.require_gateway()}/seldon/{spec.namespace}/{spec.name}"


def _clean(document: Document) -> Document:
    """Leave out what only the store is interested in."""
    metadata = {k: v for k, v in document["metadata"].items() if k not in ("managedFields", "uid")}
    return {**document, "metadata": metadata}
