"""The life of a deployment behind either gateway, with a stand-in server."""

from __future__ import annotations

import numpy as np
import pytest

from chandlery.deployments.client import DeploymentAddress, Endpoint
from chandlery.deployments.deployment import (
    apply,
    current,
    observe,
    read_annotation,
    remove_predictor,
    set_weights,
    wait_ready,
    write_annotation,
)
from chandlery.deployments.evidence import read_evidence
from chandlery.errors import InvalidDocumentError, NotFoundError, ServingError
from chandlery.resources import SELDON_DEPLOYMENT

from .conftest import Platform, serving, until, variant

pytestmark = pytest.mark.slow  # starts servers

ROWS = {"x": np.array([1, 2, 3])}


def test_first_version_canary_promotion_and_end(platform: Platform) -> None:
    store = platform.store
    apply(store, serving(variant("12", 100)))
    seen = wait_ready(store, "digits", "default", 20)
    assert seen.in_force == {"v12": 100}
    assert seen.url == f"{platform.url}/seldon/default/digits/api/v1.0/predictions"
    endpoint = Endpoint(DeploymentAddress(platform.url, "default", "digits"))
    answer = endpoint.predict(ROWS, request_id="mine")
    assert (answer.status, answer.request_id, answer.route, answer.version) == (200, "mine", "v12", "12")
    assert answer.answers["echo"].tolist() == [1, 2, 3]
    assert endpoint.predict(ROWS).request_id

    stable = platform.servers()
    apply(store, serving(variant("12", 60), variant("13", 40)))
    wait_ready(store, "digits", "default", 20)
    routes = [endpoint.predict(ROWS).route for _ in range(200)]
    assert 40 <= routes.count("v13") <= 120
    assert {endpoint.predict(ROWS, route="v13").route for _ in range(20)} == {"v13"}

    assert set_weights(store, "digits", "default", {"v12": 1, "v13": 99}) < 2
    assert [endpoint.predict(ROWS).route for _ in range(100)].count("v13") > 85
    assert remove_predictor(store, "digits", "default", "v12")
    assert {endpoint.predict(ROWS).route for _ in range(50)} == {"v13"}
    assert not remove_predictor(store, "digits", "default", "v12")
    with pytest.raises(InvalidDocumentError, match="only predictor"):
        remove_predictor(store, "digits", "default", "v13")
    until(lambda: len(platform.servers()) == 1, "the old server is stopped")
    assert not set(platform.servers()) & set(stable)
    assert current(store, "digits", "default") == serving(variant("13", 100))

    store.delete(SELDON_DEPLOYMENT, "digits", "default")
    until(lambda: endpoint.predict(ROWS).status == 404, "the route is gone")
    until(lambda: not platform.servers(), "all servers are stopped")
    assert current(store, "digits", "default") is None
    with pytest.raises(NotFoundError):
        observe(store, "digits", "default")
    endpoint.close()


def test_weights_and_notes_restart_nothing(platform: Platform) -> None:
    store = platform.store
    apply(store, serving(variant("1", 50), variant("2", 50)))
    wait_ready(store, "digits", "default", 20)
    before = {slot: process.pid for slot, process in platform.servers().items()}
    for weight in (10, 90, 25):
        set_weights(store, "digits", "default", {"v1": 100 - weight, "v2": weight})
        assert observe(store, "digits", "default").ready
    write_annotation(store, "digits", "default", "chandlery.io/canary", '{"stage": 1}')
    apply(store, serving(variant("1", 95), variant("2", 5)))
    wait_ready(store, "digits", "default", 20)
    assert read_annotation(store, "digits", "default", "chandlery.io/canary") == '{"stage": 1}'
    write_annotation(store, "digits", "default", "chandlery.io/canary", "")
    assert read_annotation(store, "digits", "default", "chandlery.io/canary") == ""
    assert {slot: process.pid for slot, process in platform.servers().items()} == before
    with pytest.raises(InvalidDocumentError, match="do not fit"):
        set_weights(store, "digits", "default", {"v1": 50, "v9": 50})
    with pytest.raises(InvalidDocumentError, match="add up"):
        set_weights(store, "digits", "default", {"v1": 50, "v2": 51})


def test_feedback_reaches_who_answered_and_counts_grow(platform: Platform) -> None:
    store = platform.store
    apply(store, serving(variant("1", 50), variant("2", 50, "status=500")))
    wait_ready(store, "digits", "default", 20)
    sent = {"v1": 0, "v2": 0}
    with Endpoint(DeploymentAddress(platform.url, "default", "digits")) as endpoint:
        for i in range(60):
            answer = endpoint.predict(ROWS)
            sent[answer.route] += 1
            assert answer.ok == (answer.route == "v1")
            assert endpoint.feedback(answer, reward=float(i % 2 and answer.route == "v1")) == 200
        assert endpoint.predict(ROWS, route="v2").status == 500  # asked for by name: not part of the evidence

    def counted() -> bool:
        found = read_evidence("digits", "default", 0.25, gateway=platform.url)
        return {name: c.requests for name, c in found.items()} == sent and (
            {name: c.judged for name, c in found.items()} == sent
        )

    until(counted, f"the counts are {sent}", 5)
    found = read_evidence("digits", "default", 0.25, gateway=platform.url)
    assert found["v1"].errors == 0
    assert found["v2"].errors == sent["v2"] == found["v2"].wrong
    assert 0 < found["v1"].wrong < sent["v1"]
    assert found["v1"].slow == 0
    with pytest.raises(NotFoundError):
        read_evidence("nobody", "default", 0.25, gateway=platform.url)


def test_a_shadow_sees_everything_and_never_answers(platform: Platform) -> None:
    store = platform.store
    apply(store, serving(variant("1", 100), strategy="shadow", shadow=variant("2", 100, "status=500")))
    wait_ready(store, "digits", "default", 20)
    with Endpoint(DeploymentAddress(platform.url, "default", "digits")) as endpoint:
        for _ in range(100):
            answer = endpoint.predict(ROWS)
            assert (answer.status, answer.route) == (200, "v1")
        assert endpoint.predict(ROWS, route="v2").route == "v1"  # not even when asked for by name

    def mirrored() -> bool:
        found = read_evidence("digits", "default", 0.25, gateway=platform.url)
        return found["v1"].requests == 101 and found.get("v2", found["v1"]).errors == 101

    until(mirrored, "the shadow saw all 101 requests", 5)


def test_a_model_that_does_not_load_fails_with_its_words_and_its_sibling_serves_on(
    platform: Platform,
) -> None:
    store = platform.store
    apply(store, serving(variant("1", 100)))
    wait_ready(store, "digits", "default", 20)
    apply(store, serving(variant("1", 90), variant("2", 10, "fail=1")))
    with pytest.raises(ServingError, match=r"predictor v2: its server exited with 1") as caught:
        wait_ready(store, "digits", "default", 20)
    assert "weights.bin is damaged" in caught.value.message
    assert "train the model again" in caught.value.hint
    with Endpoint(DeploymentAddress(platform.url, "default", "digits")) as endpoint:
        assert {endpoint.predict(ROWS).route for _ in range(50)} == {"v1"}
    remove_predictor(store, "digits", "default", "v2")
    assert wait_ready(store, "digits", "default", 20).in_force == {"v1": 100}


def test_a_new_version_takes_over_without_a_gap(platform: Platform) -> None:
    store = platform.store
    apply(store, serving(variant("1", 100)))
    wait_ready(store, "digits", "default", 20)
    apply(store, serving(variant("2", 100, "start=0.5")))
    seen = set()
    with Endpoint(DeploymentAddress(platform.url, "default", "digits")) as endpoint:
        while not observe(store, "digits", "default").ready:
            answer = endpoint.predict(ROWS)
            assert answer.status == 200
            seen.add(answer.route)
        until(lambda: len(platform.servers()) == 1, "the old server is stopped")
        assert endpoint.predict(ROWS).route == "v2"
    assert "v1" in seen


def test_protocol_v2_and_what_is_refused(platform: Platform) -> None:
    store = platform.store
    apply(store, serving(variant("1", 100), protocol="v2"))
    wait_ready(store, "digits", "default", 20)
    with Endpoint(DeploymentAddress(platform.url, "default", "digits", "v2", "digits")) as endpoint:
        answer = endpoint.predict(ROWS)
        assert (answer.status, answer.route, answer.answers["who"].tolist()) == (200, "v1", ["v1"])
        large = endpoint.predict({"x": np.zeros(9_000_000)})
        assert large.status == 413
        assert "Too Large" in large.error
    with Endpoint(DeploymentAddress(platform.url, "default", "nobody")) as endpoint:
        nobody = endpoint.predict(ROWS)
        assert nobody.status == 404
        assert "no deployment" in nobody.error
