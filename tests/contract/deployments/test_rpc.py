"""gRPC through the gateway: the same port, routes, weights and evidence as HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import grpc
import httpx
import pytest

from chandlery.deployments.deployment import apply, set_weights, wait_ready
from chandlery.deployments.evidence import read_evidence

from .conftest import Platform, serving, until, variant

pytestmark = pytest.mark.slow

METHOD = "/inference.GRPCInferenceService/ModelInfer"
NAMED = (("seldon", "digits"), ("namespace", "default"))
Ask = Callable[..., str]


@pytest.fixture
def kind() -> str:
    """The small proxy speaks HTTP/1.1 alone."""
    from chandlery.embedded.gateway.envoy import find_envoy

    if find_envoy() is None:
        pytest.skip("Envoy has no wheel for this platform and is not on the PATH")
    return "envoy"


@pytest.fixture(autouse=True)
def with_rpc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANDLERY_GRPC", "true")


@pytest.fixture
def ask(platform: Platform) -> Ask:
    """Return a function that asks once; it returns who answered, or the name of the status."""
    channel = grpc.insecure_channel(f"127.0.0.1:{platform.address.port}")
    call = channel.unary_unary(METHOD)

    def ask(body: bytes = b"rows", metadata: tuple[tuple[str, str], ...] = NAMED) -> str:
        try:
            return bytes(call(body, metadata=metadata, timeout=10)).decode()
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"

    return ask


def test_weights_routes_and_evidence(platform: Platform, ask: Ask) -> None:
    apply(platform.store, serving(variant("1", 70), variant("2", 30, "status=500")))
    wait_ready(platform.store, "digits", "default", 30)
    said = Counter(ask() for _ in range(300))
    assert set(said) == {"v1", "INTERNAL: a defect"}
    assert 160 < said["v1"] < 260
    for _ in range(20):
        assert ask(b"bad") == "INVALID_ARGUMENT: bad rows"
    with httpx.Client() as http:
        url = f"{platform.url}/seldon/default/digits/api/v1.0/predictions"
        plain = Counter(http.post(url, json={"jsonData": {"x": [1]}}).status_code for _ in range(50))

    def counted() -> bool:
        found = read_evidence("digits", "default", 0.25, gateway=platform.url)
        return sum(counts.requests for counts in found.values()) == 370

    until(counted, "every call is counted once", 10)
    found = read_evidence("digits", "default", 0.25, gateway=platform.url)
    # A refusal over gRPC is HTTP 200, and so is an error: both are counted as what they are.
    assert sum(counts.refused for counts in found.values()) == 20
    assert found["v2"].errors == said["INTERNAL: a defect"] + plain[500]
    assert found["v1"].errors == 0
    # Whoever names a predictor gets it, and is no evidence.
    assert {ask(metadata=(*NAMED, ("x-seldon-route", "v1"))) for _ in range(20)} == {"v1"}
    set_weights(platform.store, "digits", "default", {"v1": 99, "v2": 1})
    wait_ready(platform.store, "digits", "default", 20)
    assert [ask() for _ in range(30)].count("v1") > 25


def test_who_is_not_there_is_told_in_words(platform: Platform, ask: Ask) -> None:
    apply(platform.store, serving(variant("1", 100)))
    wait_ready(platform.store, "digits", "default", 30)
    for metadata in ((), (("seldon", "other"), ("namespace", "default")), (("seldon", "digits"),)):
        assert "send the metadata seldon=<deployment>" in ask(metadata=metadata)
    assert ask() == "v1"


def test_two_servers_of_one_predictor(platform: Platform, ask: Ask) -> None:
    apply(platform.store, serving(variant("1", 100), replicas=2))
    wait_ready(platform.store, "digits", "default", 30)
    assert {ask() for _ in range(50)} == {"v1"}
    next(iter(platform.servers().values())).kill()
    assert {ask() for _ in range(50)} == {"v1"}  # one dead of two costs no call
