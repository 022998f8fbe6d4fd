"""The far side of a canary: the deployment that it moves and the counters that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from chandlery.canary.decision import early_end
from chandlery.canary.decision.machine import Health
from chandlery.canary.decision.state import ANNOTATION
from chandlery.resources.counts import Counts
from chandlery.resources.port import SELDON_DEPLOYMENT, Document, ResourceStore

SHIFT_SECONDS = 60.0  # a weight that is not in force after this long never will be


class Side(Protocol):
    """The port of the watcher to the world; every method may be called again after a crash."""

    def weights(self) -> dict[str, int] | None:
        """Return percent of traffic by predictor, stable first; None when there is no such deployment."""
        ...

    def health(self, predictor: str) -> tuple[Health, str]:
        """Return how a predictor is, and what the deployment says of it when it is not well."""
        ...

    def shift(self, weights: Mapping[str, int]) -> float:
        """Set the weights, wait until they are in force, return how many seconds that took."""
        ...

    def remove(self, predictor: str) -> None:
        """Take a predictor out; its traffic goes to the other. One that is gone is not an error."""
        ...

    def counters(self, predictor: str) -> Counts:
        """Return the cumulative counters of a predictor as of the last `refresh`."""
        ...

    def refresh(self) -> None:
        """Read the counters anew; raises ServingError or PlatformError when they cannot be read."""
        ...

    def load(self) -> str:
        """Return the stored state of a canary; empty when there is none."""
        ...

    def store(self, text: str) -> None:
        """Write the state."""
        ...

    def request(self) -> str:
        """Return a person's request to end the canary early; empty when there is none."""
        ...

    def withdraw(self) -> None:
        """Remove that request."""
        ...


@dataclass
class DeploymentSide:
    """A SeldonDeployment and the counters of its gateway.

    Attributes:
        resources: where the deployment's document is.
        name: name of the deployment.
        namespace: its namespace.
        objective: latency above which an answer is slow, seconds.
    """

    resources: ResourceStore
    name: str
    namespace: str
    objective: float

    def __post_init__(self) -> None:
        """Start without counters."""
        self._counters: dict[str, Counts] = {}

    def weights(self) -> dict[str, int] | None:
        """See `Side.weights`."""
        from chandlery.deployments import deployment

        spec = deployment.current(self.resources, self.name, self.namespace)
        return None if spec is None else dict(spec.weights)

    def health(self, predictor: str) -> tuple[Health, str]:
        """See `Side.health`."""
        document = self.resources.get(SELDON_DEPLOYMENT, self.name, self.namespace)
        return health_of(document, self.name, predictor)

    def shift(self, weights: Mapping[str, int]) -> float:
        """See `Side.shift`."""
        from chandlery.deployments import deployment

        return deployment.set_weights(self.resources, self.name, self.namespace, weights, SHIFT_SECONDS)

    def remove(self, predictor: str) -> None:
        """See `Side.remove`."""
        from chandlery.deployments import deployment

        deployment.remove_predictor(self.resources, self.name, self.namespace, predictor, SHIFT_SECONDS)

    def counters(self, predictor: str) -> Counts:
        """See `Side.counters`."""
        return self._counters.get(predictor, Counts())

    def refresh(self) -> None:
        """See `Side.refresh`."""
        from chandlery.deployments.evidence import read_evidence

        self._counters = read_evidence(self.name, self.namespace, objective_seconds=self.objective)

    def load(self) -> str:
        """See `Side.load`."""
        from chandlery.deployments import deployment

        return deployment.read_annotation(self.resources, self.name, self.namespace, ANNOTATION)

    def store(self, text: str) -> None:
        """See `Side.store`."""
        from chandlery.deployments import deployment

        deployment.write_annotation(self.resources, self.name, self.namespace, ANNOTATION, text)

    def request(self) -> str:
        """See `Side.request`."""
        from chandlery.deployments import deployment

        return deployment.read_annotation(self.resources, self.name, self.namespace, early_end.ANNOTATION)

    def withdraw(self) -> None:
        """See `Side.withdraw`."""
        from chandlery.deployments import deployment

        if self.request():
            deployment.write_annotation(self.resources, self.name, self.namespace, early_end.ANNOTATION, "")


def health_of(document: Document, name: str, predictor: str) -> tuple[Health, str]:
    """Return how a predictor is by the status of its SeldonDeployment.

    A failure counts as this predictor's when the description names it, or names no predictor at all: one that
    cannot be attributed is the newcomer's.
    """
    status = document.get("status") or {}
    description = " ".join(str(status.get("description", "")).split())
    predictors = [str(p["name"]) for p in document["spec"]["predictors"]]
    named = [
        p
        for p in predictors
        if p in description.replace("/", " ").replace(":", " ").replace("-", " ").split()
    ]
    if status.get("state") == "Failed" and (predictor in named or not named):
        return "failed", description
    own = [
        replicas
        for key, replicas in (status.get("deploymentStatus") or {}).items()
        if key.startswith(f"{name}-{predictor}-")
    ]
    if any(replicas.get("replicas", 0) and not replicas.get("availableReplicas", 0) for replicas in own):
        return "unready", description
    return "ready", ""
