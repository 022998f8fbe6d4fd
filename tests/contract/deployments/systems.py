"""Something that serves SeldonDeployments: the laptop platform, or a cluster with Seldon Core and its gateway."""

from __future__ import annotations

import json
import os
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from chandlery.deployments.client import Answer
from chandlery.deployments.deployment import apply, wait_ready
from chandlery.deployments.evidence import read_evidence
from chandlery.deployments.spec import ServingSpec, Variant
from chandlery.recipe import Columns
from chandlery.resources import SELDON_DEPLOYMENT, ResourceStore
from chandlery.resources.counts import Counts

READY_SECONDS = 600.0


@dataclass
class System:
    """One back end of the contract.

    Attributes:
        store: where its SeldonDeployments are.
        gateway: base URL of its gateway.
        model: URI of a model package that its servers can load.
        rows: a request that this model takes.
        image: container image of the server; empty: ours.
        namespace: where the deployment goes.
        prometheus: base URL of the Prometheus that scrapes it; empty: the gateway tells the counts itself.
        counts: whether anything tells the counts.
    """

    store: ResourceStore
    gateway: str
    model: str
    rows: Columns
    image: str = ""
    namespace: str = "default"
    prometheus: str = ""
    counts: bool = True
    name: str = field(default_factory=lambda: f"contract-{uuid.uuid4().hex[:8]}")

    def serve(self, *weights: int, shadow: bool = False) -> None:
        """Serve version 1, 2 and so on with these weights, and one more as shadow; wait until they are in force."""
        variants = tuple(Variant(str(i), self.model, w, self.image) for i, w in enumerate(weights, 1))
        copy = Variant(str(len(weights) + 1), self.model, 100, self.image) if shadow else None
        strategy = "shadow" if shadow else "replace" if len(weights) == 1 else "ab"
        spec = ServingSpec(self.name, self.namespace, "digits", variants, strategy=strategy, shadow=copy)
        apply(self.store, spec)
        wait_ready(self.store, self.name, self.namespace, READY_SECONDS)

    def evidence(self) -> dict[str, Counts]:
        """What each predictor did so far."""
        if not self.counts:
            pytest.skip("needs the Prometheus that scrapes the cluster: CHANDLERY_TEST_PROMETHEUS")
        return read_evidence(self.name, self.namespace, 0.25, self.gateway, self.prometheus)

    def give_feedback(self, answer: Answer) -> str:
        """Give feedback to an answer; return the predictor that took it."""
        document = {
            "response": {"meta": {"puid": answer.request_id, "tags": {"predictor": answer.route}}},
            "reward": 1.0,
        }
        request = urllib.request.Request(
            f"{self.gateway}/seldon/{self.namespace}/{self.name}/api/v1.0/feedback",
            json.dumps(document).encode(),
            {"x-seldon-route": answer.route, "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return str(json.load(response)["meta"]["tags"]["predictor"])


@contextmanager
def cluster() -> Iterator[System]:
    """The cluster that the environment names; see `tests/contract/deployments/README.md`."""
    from chandlery.resources.kubernetes import KubernetesStore

    needed = {
        "CHANDLERY_TEST_KUBECONFIG": "kubeconfig, to apply the documents",
        "CHANDLERY_TEST_SELDON_MODEL": "URI of a digits model package that its servers can load",
    }
    for variable, what in needed.items():
        if not os.environ.get(variable):
            pytest.skip(f"needs {variable}: {what}")
    prometheus = os.environ.get("CHANDLERY_TEST_PROMETHEUS", "")
    system = System(
        store=KubernetesStore(config_file=os.environ["CHANDLERY_TEST_KUBECONFIG"]),
        gateway=os.environ["CHANDLERY_TEST_SELDON_GATEWAY"].rstrip("/"),
        model=os.environ["CHANDLERY_TEST_SELDON_MODEL"],
        rows={"pixels": np.zeros((1, 64), "float32")},
        image=os.environ.get("CHANDLERY_TEST_SELDON_IMAGE", ""),
        namespace=os.environ.get("CHANDLERY_NAMESPACE", "default"),
        prometheus=prometheus,
        counts=bool(prometheus),
    )
    try:
        yield system
    finally:
        system.store.delete(SELDON_DEPLOYMENT, system.name, system.namespace)
        system.store.close()
