"""Ready is said only when the newest document is what serves, on a cluster as on a laptop; others' changes survive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.deployments import deployment
from chandlery.deployments.deployment import DEPLOYMENT, VIRTUAL_SERVICE
from chandlery.deployments.spec import ServingSpec, Variant, to_seldon
from chandlery.embedded.resources import EmbeddedStore
from chandlery.errors import ConflictError, DeadlineError, NotFoundError, ServingError
from chandlery.resources import SELDON_DEPLOYMENT, Kind
from chandlery.resources.seldon_deployment import IN_FORCE_ANNOTATION

CANARY = ServingSpec(
    "digits",
    "default",
    "digits",
    (Variant("1", "models:/digits/1", 95), Variant("2", "models:/digits/2", 5)),
    strategy="canary",
)


@pytest.fixture(autouse=True)
def _no_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    monkeypatch.delenv("CHANDLERY_GATEWAY", raising=False)


class Cluster:
    """A cluster's API server, as far as a deployment is observed through it."""

    def __init__(self) -> None:
        self.seldon = to_seldon(CANARY)
        self.seldon["metadata"]["generation"] = 2
        self.seldon["status"] = {"state": "Available"}
        self.deployments = [self._deployment("digits-v1-0-digits"), self._deployment("digits-v2-0-digits")]
        self.weights: dict[str, int] | None = {"v1": 95, "v2": 5}

    @staticmethod
    def _deployment(name: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "generation": 4},
            "spec": {"replicas": 2},
            "status": {
                "observedGeneration": 4,
                "updatedReplicas": 2,
                "availableReplicas": 2,
                "replicas": 2,
            },
        }

    def get(self, kind: Kind, name: str, namespace: str) -> dict[str, Any]:
        if kind == SELDON_DEPLOYMENT:
            return self.seldon
        assert (kind, name) == (VIRTUAL_SERVICE, "digits")
        if self.weights is None:
            raise NotFoundError("no VirtualService")
        route = [{"destination": {"subset": p}, "weight": w} for p, w in self.weights.items()]
        return {"spec": {"http": [{"route": route}, {"route": route}]}}

    def list(self, kind: Kind, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        assert (kind, selector) == (DEPLOYMENT, "seldon-deployment-id=digits")
        return self.deployments


def test_a_cluster_is_ready_when_pods_and_split_are_those_of_the_document() -> None:
    cluster = Cluster()
    assert deployment.observe(cluster, "digits", "default").ready  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c.seldon["status"].update(state="Creating"),
        lambda c: c.deployments[0]["metadata"].update(generation=5),
        lambda c: c.deployments[1]["status"].update(updatedReplicas=1),
        lambda c: c.deployments[1]["status"].update(replicas=3),
        lambda c: c.deployments.pop(),
        lambda c: setattr(c, "weights", {"v1": 100}),
        lambda c: setattr(c, "weights", None),
    ],
)
def test_available_alone_is_not_believed(spoil: Any) -> None:
    cluster = Cluster()
    spoil(cluster)
    assert not deployment.observe(cluster, "digits", "default").ready  # type: ignore[arg-type]
    with pytest.raises(DeadlineError, match="was not ready"):
        deployment.wait_ready(cluster, "digits", "default", 0.05)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> EmbeddedStore:
    made = EmbeddedStore(tmp_path / "resources")
    deployment.apply(made, CANARY)
    return made


def say(store: EmbeddedStore, state: str, **in_force: Any) -> None:
    document = store.get(SELDON_DEPLOYMENT, "digits", "default")
    document["metadata"] = {"name": "digits", "namespace": "default"}
    document["status"] = {
        "state": state,
        "description": "predictor v2: its server exited with 1 (3x): no such file\nsee there\nlog: /x",
        "annotations": {IN_FORCE_ANNOTATION: json.dumps(in_force)},
    }
    store.update_status(document)


def test_a_status_of_the_document_before_is_not_believed(store: EmbeddedStore) -> None:
    say(store, "Available", observed=1, generation=1, weights={"v1": 95, "v2": 5})
    assert deployment.observe(store, "digits", "default").ready
    deployment.apply(store, CANARY.with_(replicas=2))
    assert not deployment.observe(store, "digits", "default").ready
    say(store, "Failed", observed=1, generation=1, weights={"v1": 95, "v2": 5})
    with pytest.raises(DeadlineError):
        deployment.wait_ready(store, "digits", "default", 0.05)
    say(store, "Failed", observed=2, generation=1, weights={"v1": 95, "v2": 5})
    with pytest.raises(ServingError, match="no such file") as caught:
        deployment.wait_ready(store, "digits", "default", 5)
    assert caught.value.hint == "see there | log: /x"


def test_the_split_alone_can_be_waited_for_while_a_predictor_is_down(store: EmbeddedStore) -> None:
    say(store, "Creating", observed=2, generation=1, weights={"v1": 50, "v2": 50})
    assert deployment.set_weights(store, "digits", "default", {"v1": 50, "v2": 50}, 1) < 1
    with pytest.raises(DeadlineError, match="not in force"):
        deployment.set_weights(store, "digits", "default", {"v1": 60, "v2": 40}, 0.1)


def test_a_write_that_lost_a_race_is_repeated_on_what_is_there(
    store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(store, "Available", observed=9, generation=9, weights={"v1": 100})
    apply, lost = store.apply, []

    def losing(document: Any, **options: Any) -> Any:
        if not lost:
            lost.append(document)
            raise ConflictError("somebody was faster")
        return apply(document, **options)

    monkeypatch.setattr(store, "apply", losing)
    assert deployment.remove_predictor(store, "digits", "default", "v2", 1)
    assert lost
    spec = deployment.current(store, "digits", "default")
    assert spec is not None
    assert (spec.weights, spec.strategy) == ({"v1": 100}, "replace")


def test_notes_and_traffic_leave_each_other_alone(store: EmbeddedStore) -> None:
    deployment.write_annotation(store, "digits", "default", "chandlery.io/canary", "state")
    say(store, "Available", observed=9, generation=9, weights={"v1": 40, "v2": 60})
    deployment.set_weights(store, "digits", "default", {"v1": 40, "v2": 60}, 1)
    assert deployment.read_annotation(store, "digits", "default", "chandlery.io/canary") == "state"
    deployment.apply(store, CANARY)
    assert deployment.read_annotation(store, "digits", "default", "chandlery.io/canary") == "state"
    assert deployment.current(store, "digits", "default") == CANARY
    with pytest.raises(NotFoundError):
        deployment.write_annotation(store, "nobody", "default", "chandlery.io/canary", "state")


@given(st.lists(st.integers(1, 97), min_size=1, max_size=4))
def test_shares_add_up_and_keep_their_order(weights: list[int]) -> None:
    shares = deployment._shares(weights)
    assert sum(shares) == 100
    assert min(shares) >= 1
    assert all(
        shares[i] >= shares[j] - 1
        for i in range(len(weights))
        for j in range(len(weights))
        if weights[i] >= weights[j]
    )
