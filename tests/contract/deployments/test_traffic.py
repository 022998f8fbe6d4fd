"""Where requests go: what an experiment or a canary rests on, in the embedded form and in a cluster."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chandlery.deployments.client import DeploymentAddress, Endpoint
from chandlery.embedded.gateway.envoy import find_envoy

from .conftest import running_platform, until
from .load import Load
from .systems import System, cluster

pytestmark = pytest.mark.slow  # starts servers

REQUESTS = 20_000
LOAD_SECONDS = 600.0


@pytest.fixture(
    params=["embedded", pytest.param("seldon", marks=pytest.mark.real("CHANDLERY_TEST_SELDON_GATEWAY"))]
)
def system(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[System]:
    """Both systems."""
    if request.param == "seldon":
        with cluster() as made:
            yield made
        return
    with running_platform(tmp_path, monkeypatch, "envoy" if find_envoy() else "aiohttp") as platform:
        yield System(platform.store, platform.url, "standin:?", {"x": np.array([1])})


def ask(system: System, number: int) -> Load:
    """Ask `number` times, eight at once."""
    with Load(
        system.gateway,
        connections=8,
        pause=0,
        deployment=system.name,
        namespace=system.namespace,
        rows=system.rows,
        number=number,
    ) as load:
        load.finish(LOAD_SECONDS)
    assert load.failed == []
    assert load.answered == number
    return load


@pytest.mark.timeout(900)
def test_20000_requests_split_as_the_weights_say_and_each_is_counted(system: System) -> None:
    system.serve(90, 10)
    load = ask(system, REQUESTS)
    share, spread = 0.1 * REQUESTS, math.sqrt(REQUESTS * 0.1 * 0.9)
    # Five standard deviations: one false alarm in two million runs.
    assert abs(load.routes["v2"] - share) < 5 * spread
    print(f"{load.routes['v2']} of {REQUESTS} to v2: {(load.routes['v2'] - share) / spread:+.2f} deviations")
    until(
        lambda: {name: c.requests for name, c in system.evidence().items()} == dict(load.routes),
        f"the counts are {dict(load.routes)}",
        120,
    )


def test_the_longest_names_are_routed(system: System) -> None:
    """Envoy refuses routes whose regular expressions it finds too large, and keeps the old ones."""
    if not system.model.startswith("standin"):
        pytest.skip("in a cluster the names of a deployment's objects must have room behind its own")
    longest = replace(system, name="d" * 63, namespace="n" * 63)
    longest.serve(50, 50)
    assert sum(ask(longest, 50).routes.values()) == 50


def test_a_shadow_gets_every_request_and_never_answers(system: System) -> None:
    system.serve(100, shadow=True)
    assert ask(system, 500).routes == {"v1": 500}
    with Endpoint(DeploymentAddress(system.gateway, system.namespace, system.name)) as endpoint:
        assert endpoint.predict(system.rows, route="v2").route == "v1"  # not even when asked for by name
    until(lambda: system.evidence()["v2"].requests == 501, "the shadow saw all 501 requests", 120)


def test_feedback_reaches_the_predictor_that_answered(system: System) -> None:
    system.serve(50, 50)
    with Endpoint(DeploymentAddress(system.gateway, system.namespace, system.name)) as endpoint:
        answers = [endpoint.predict(system.rows) for _ in range(60)]
    assert {answer.route for answer in answers} == {"v1", "v2"}
    assert [system.give_feedback(answer) for answer in answers] == [answer.route for answer in answers]
