"""What clients that ask nothing may take of the gateway."""

from __future__ import annotations

import resource
import socket
import time

import httpx
import pytest

from chandlery.embedded.gateway.envoy import IDLE_SECONDS

from .conftest import Platform

pytestmark = pytest.mark.slow

SMUGGLED = {
    "both lengths": b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcd",
    "odd coding": b"POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "space before colon": b"GET /x HTTP/1.1\r\nhost : x\r\n\r\n",
    "huge header": b"GET /x HTTP/1.1\r\nhost: x\r\na: " + b"b" * 200_000 + b"\r\n\r\n",
}


@pytest.fixture
def kind() -> str:
    """These limits are Envoy's."""
    from chandlery.embedded.gateway.envoy import find_envoy

    if find_envoy() is None:
        pytest.skip("Envoy has no wheel for this platform and is not on the PATH")
    return "envoy"


def connect(platform: Platform) -> socket.socket:
    return socket.create_connection(("127.0.0.1", platform.address.port), timeout=10)


def test_thousands_of_idle_connections_do_not_keep_others_out(platform: Platform) -> None:
    wanted = min(4000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)
    held = []
    for number in range(wanted):
        one = connect(platform)
        if number % 2:
            one.sendall(b"POST /seldon/default/x HTTP/1.1\r\nhost: x\r\ncontent-le")
        held.append(one)
    began = time.monotonic()
    for _ in range(20):
        assert httpx.get(f"{platform.url}/none", timeout=5).status_code == 404
    longest = time.monotonic() - began
    assert longest < 10
    # Headers that never end are given up long before an idle connection is.
    held[1].settimeout(20)
    assert held[1].recv(100).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 15 < IDLE_SECONDS
    for one in held:
        one.close()


@pytest.mark.parametrize("name", SMUGGLED)
def test_what_two_servers_could_read_differently_is_refused(platform: Platform, name: str) -> None:
    with connect(platform) as one:
        one.sendall(SMUGGLED[name] + b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = b""
        while data := one.recv(65536):
            answer += data
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 501"))
    assert answer.count(b"HTTP/1.1 ") == 1
