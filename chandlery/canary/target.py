"""The deployment that a canary or a replay works on, and its end on SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chandlery import addresses
from chandlery.errors import NotFoundError
from chandlery.processes.flag import setting
from chandlery.resources.port import ResourceStore

if TYPE_CHECKING:
    from chandlery.deployments.client import AsyncEndpoint
    from chandlery.deployments.spec import ServingSpec


def place_of(model_name: str, deployment: str, namespace: str) -> tuple[str, str]:
    """Return name and namespace of a deployment, by default those of the model and of the endpoints."""
    from chandlery.deployments.spec import node_name

    return deployment or node_name(model_name), namespace or addresses.endpoints().namespace


def version_of(text: str) -> str:
    """Return a model version, `13`, of a version or predictor name, `v13`."""
    return text.strip().removeprefix("v")


def spec_of(store: ResourceStore, name: str, namespace: str) -> ServingSpec:
    """Return what a deployment serves now; raises NotFoundError when there is none."""
    from chandlery.deployments.deployment import current

    spec = current(store, name, namespace)
    if spec is None:
        raise NotFoundError(f"no deployment {namespace}/{name}", "deploy a version with deploy_model first")
    return spec


def url_of(name: str, namespace: str) -> str:
    """Return a deployment's base URL behind the gateway; only the path where no gateway is known."""
    return f"{addresses.endpoints().gateway.rstrip('/')}/seldon/{namespace}/{name}"


def endpoint_of(name: str, namespace: str, spec: ServingSpec, connections: int) -> AsyncEndpoint:
    """Return a client for a deployment that keeps up to `connections` requests under way."""
    from chandlery.deployments.client import AsyncEndpoint, DeploymentAddress

    gateway = addresses.require_gateway()
    address = DeploymentAddress(gateway, namespace, name, spec.protocol, spec.model_name)
    return AsyncEndpoint(address, connections=connections)


@contextmanager
def stopped_by_sigterm(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on SIGTERM: the state is already on the deployment, what remains is to leave in order."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread alone
        return
    previous = signal.signal(signal.SIGTERM, setting(stop))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
