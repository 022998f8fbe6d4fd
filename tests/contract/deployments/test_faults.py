"""What happens to requests, servers and counts when anything is changed or killed under load."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from chandlery.deployments.client import DeploymentAddress, Endpoint
from chandlery.deployments.deployment import apply, observe, remove_predictor, set_weights, wait_ready
from chandlery.deployments.evidence import read_evidence
from chandlery.resources import SELDON_DEPLOYMENT

from .conftest import Platform, serving, until, variant
from .load import Load

ROWS = {"x": np.array([1])}


def ready(platform: Platform, *variants: object, **changes: object) -> None:
    """Deploy and wait."""
    apply(platform.store, serving(*variants, **changes))  # type: ignore[arg-type]
    wait_ready(platform.store, "digits", "default", 30)


@pytest.mark.slow
def test_versions_come_and_go_under_load_and_no_request_fails(platform: Platform) -> None:
    ready(platform, variant("1", 100))
    with Load(platform.url) as load:
        for version in ("2", "3"):
            ready(platform, variant(str(int(version) - 1), 60), variant(version, 40))
            remove_predictor(platform.store, "digits", "default", f"v{int(version) - 1}")
        until(lambda: len(platform.servers()) == 1, "the old servers are stopped")
    assert load.failed == []
    assert set(load.routes) == {"v1", "v2", "v3"}


@pytest.mark.slow
def test_a_killed_server_comes_back_and_its_sibling_answers_meanwhile(platform: Platform) -> None:
    ready(platform, variant("1", 100), replicas=2)
    with Load(platform.url) as load:
        for slot, process in platform.servers().items():
            process.send_signal(signal.SIGKILL)
            process.wait(5)
            until(lambda s=slot: s in platform.servers(), "it is started again")
            wait_ready(platform.store, "digits", "default", 20)
        wait_ready(platform.store, "digits", "default", 20)
    assert load.failed == []
    assert load.answered > 100


@pytest.mark.slow
def test_a_server_that_is_back_takes_over_at_once_when_its_sibling_dies(platform: Platform) -> None:
    """The one was taken out; it answers again a moment before the other is killed."""
    if platform.kind != "envoy":
        pytest.skip("only Envoy takes servers out")
    ready(platform, variant("1", 100), replicas=2)
    with Load(platform.url) as load:
        for _ in range(2):
            until(lambda: len(platform.servers()) == 2, "both servers run")
            wait_ready(platform.store, "digits", "default", 20)
            first, second = platform.servers().values()
            first.suspend()
            time.sleep(9)  # two looks of two seconds each have failed
            first.resume()
            second.send_signal(signal.SIGKILL)
            second.wait(5)
            time.sleep(1)
    assert load.failed == []
    assert load.answered > 100


@pytest.mark.slow
def test_a_server_that_hangs_costs_time_and_no_request(platform: Platform) -> None:
    """Of two servers one is stopped (SIGSTOP): Envoy asks the other for what waits there, and sends it no more."""
    if platform.kind != "envoy":
        pytest.skip(
            "only Envoy looks at servers; behind the small proxy a hung one is replaced by the controller"
        )
    ready(platform, variant("1", 100), replicas=2)
    with Load(platform.url) as load:
        until(lambda: load.answered > 200, "there is traffic")
        process = next(iter(platform.servers().values()))
        process.suspend()
        began = time.monotonic()
        time.sleep(10)
        before = load.answered
        time.sleep(2)
        assert load.answered - before > 200  # the other one answers them all
        process.resume()
    print(
        f"\nFIGURE hung server: longest request {load.longest:.1f} s, {load.answered} answered, in {time.monotonic() - began:.0f} s"
    )
    assert load.failed == []
    assert load.longest < 10


@pytest.mark.slow
def test_a_server_that_hangs_is_replaced(platform: Platform) -> None:
    if platform.kind != "envoy":
        pytest.skip("the controller does this, whatever the gateway: once is enough")
    ready(platform, variant("1", 100))
    (process,) = platform.servers().values()
    process.suspend()
    until(lambda: [p.pid for p in platform.servers().values()] not in ([], [process.pid]), "another runs", 60)
    wait_ready(platform.store, "digits", "default", 20)
    with Endpoint(DeploymentAddress(platform.url, "default", "digits")) as endpoint:
        assert endpoint.predict(ROWS).ok


@pytest.mark.slow
def test_a_server_without_room_costs_no_request_where_another_has(platform: Platform) -> None:
    if platform.kind != "envoy":
        pytest.skip("the small proxy does not ask again after an answer")
    ready(platform, variant("1", 100, "full=0.5"), replicas=2)
    with Load(platform.url) as load:
        until(lambda: load.answered + len(load.failed) > 500, "there is traffic")
    assert len(load.failed) < 0.15 * 500  # each is asked up to nine times, where one server would refuse half


@pytest.mark.slow
def test_a_killed_controller_is_not_missed_and_the_next_one_takes_over(platform: Platform) -> None:
    ready(platform, variant("1", 60), variant("2", 40))
    with Endpoint(DeploymentAddress(platform.url, "default", "digits")) as endpoint:
        for _ in range(30):
            endpoint.feedback(endpoint.predict(ROWS), reward=0.0)
    until(lambda: sum(c.judged for c in evidence(platform).values()) == 30, "feedback is counted", 5)
    before = {slot: process.pid for slot, process in platform.servers().items()}
    with Load(platform.url) as load:
        for weight in (10, 20, 30):
            platform.kill("controller")
            time.sleep(random.uniform(0, 0.3))
            platform.start("controller")
            set_weights(platform.store, "digits", "default", {"v1": 100 - weight, "v2": weight})
            wait_ready(platform.store, "digits", "default", 20)
    assert load.failed == []
    assert {slot: process.pid for slot, process in platform.servers().items()} == before
    until(
        lambda: sum(c.requests for c in evidence(platform).values()) == 30 + load.answered,
        "no request is lost or counted twice",
        5,
    )
    assert sum(c.judged for c in evidence(platform).values()) == 30


@pytest.mark.slow
def test_what_happened_while_no_controller_ran_is_made_up_for(platform: Platform) -> None:
    ready(platform, variant("1", 100))
    apply(platform.store, serving(variant("1", 100), name="other"))
    wait_ready(platform.store, "other", "default", 20)
    platform.kill("controller")
    platform.store.delete(SELDON_DEPLOYMENT, "other", "default")
    apply(platform.store, serving(variant("1", 50), variant("2", 50)))
    for process in platform.servers().values():
        process.send_signal(signal.SIGKILL)
    platform.start("controller")
    wait_ready(platform.store, "digits", "default", 30)
    until(lambda: len(platform.servers()) == 2, "two servers run")
    assert {slot.split("/")[1] for slot in platform.servers()} == {"digits"}


@pytest.mark.slow
def test_a_killed_gateway_comes_back_at_its_port_with_its_routes(platform: Platform) -> None:
    ready(platform, variant("1", 70), variant("2", 30))
    with Endpoint(DeploymentAddress(platform.url, "default", "digits")) as endpoint:
        for _ in range(20):
            assert endpoint.predict(ROWS).ok
    until(lambda: sum(c.requests for c in evidence(platform).values()) == 20, "20 are counted", 5)
    address = platform.address
    platform.kill("gateway")
    until(lambda: observe(platform.store, "digits", "default").state == "Creating", "the loss is noticed")
    platform.start("gateway")
    assert (platform.address.port, platform.address.kind) == (address.port, address.kind)
    with Endpoint(DeploymentAddress(platform.url, "default", "digits")) as endpoint:
        assert endpoint.predict(ROWS).ok
        wait_ready(platform.store, "digits", "default", 20)
        set_weights(platform.store, "digits", "default", {"v1": 1, "v2": 99})
        assert [endpoint.predict(ROWS).route for _ in range(30)].count("v2") > 20
    until(lambda: sum(c.requests for c in evidence(platform).values()) == 51, "counts go on", 5)


@pytest.mark.slow
def test_a_server_that_hangs_in_its_death_is_killed(platform: Platform) -> None:
    ready(platform, variant("1", 100))
    (process,) = platform.servers().values()
    process.suspend()
    platform.store.delete(SELDON_DEPLOYMENT, "digits", "default")
    until(lambda: not platform.servers(), "the suspended server is gone", 40)


@pytest.mark.slow
def test_a_port_in_use_is_told_or_avoided(platform: Platform) -> None:
    address = platform.address
    environment = {**os.environ, "CHANDLERY_GATEWAY_KIND": platform.kind}
    command = [sys.executable, "-m", "chandlery.embedded.gateway"]

    second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert second.stderr.splitlines()[0].startswith("a gateway is already running in")
    assert len(second.stderr.splitlines()) == 2

    platform.kill("gateway")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", address.port))
        other.listen()
        named = subprocess.run(
            [*command, "--port", str(address.port)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert named.returncode == 1
        assert named.stderr.splitlines() == [
            f"port {address.port} is in use",
            "stop what listens there, or choose another with --port",
        ]
        platform.start("gateway")
        assert platform.address.port != address.port
    moved = platform.address.port
    platform.kill("gateway")
    platform.start("gateway")
    assert platform.address.port == moved


def evidence(platform: Platform) -> dict[str, object]:
    """Counts now."""
    return read_evidence("digits", "default", 0.25, gateway=platform.url)  # type: ignore[return-value]
