"""Where a canary or a replay happens, and how it is told to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chandlery import addresses
from chandlery.errors import NotFoundError
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


def endpoint_of(name: str, namespace: str, spec: ServingSpec, connections: int) -> AsyncEndpoint:
    """Return a client for a deployment that keeps up to `connections` requests under way."""
    from chandlery.deployments.client import AsyncEndpoint

    return AsyncEndpoint(
        addresses.require_gateway(),
        namespace,
        name,
        protocol=spec.protocol,
        model=spec.model_name,
        connections=connections,
    )


@contextmanager
def stopped_by_sigterm(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on SIGTERM: the state is already on the deployment, what remains is to leave in order."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread alone
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@dataclass(frozen=True)
class Pace:
    """How often counters are worth reading, and how old they may be.

    Attributes:
        look_seconds: time between looks.
        grace_seconds: time after a weight change whose counts may belong to the weight before.
        label_grace_seconds: the same for feedback.
    """

    look_seconds: float
    grace_seconds: float
    label_grace_seconds: float


def pace_of(look_seconds: float, grace_seconds: float, label_grace_seconds: float) -> Pace:
    """Return the pace of a canary; 0 stands for what suits the source of the counters.

    The gateway's own counters are a second old at most. Prometheus scrapes every 15 to 30 s by custom, so a count seen
    now may be that of a minute ago.
    """
    usual = Pace(10.0, 60.0, 60.0) if addresses.endpoints().prometheus else Pace(1.0, 1.0, 2.0)
    return Pace(
        look_seconds or usual.look_seconds,
        grace_seconds or usual.grace_seconds,
        label_grace_seconds or usual.label_grace_seconds,
    )
