"""Protects: an unmodified gRPC client reaches a deployment through the gateway, and gets words when it does not name one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chandlery.embedded.gateway.envoy import find_envoy
from chandlery.embedded.gateway.place import Place, read_address
from chandlery.embedded.gateway.table import Backend, Routes, Table, write_table

from ..environments import interpreter

pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture
def gateway(tmp_path: Path, serve: Callable[..., str]) -> Iterator[str]:
    """A real Envoy before the served table; its `host:port`."""
    if find_envoy() is None:
        pytest.skip("Envoy has no wheel for this platform and is not on the PATH")
    http, rpc = serve("Flights").removeprefix("http://"), serve("Flights", over_rpc=True)
    place = Place(tmp_path)
    place.root.mkdir(parents=True, exist_ok=True)
    backend = Backend("v3", 100, (http,), rpc=True, rpc_endpoints=(rpc,))
    write_table(place.table, Table(1, "", (Routes("default", "delays", (backend,)),)))
    environment = {**os.environ, "CHANDLERY_HOME": str(tmp_path), "CHANDLERY_GATEWAY_KIND": "envoy"}
    process = subprocess.Popen([sys.executable, "-P", "-m", "chandlery.embedded.gateway"], env=environment)
    try:
        limit = time.monotonic() + 30
        while (address := read_address(place)) is None:
            assert time.monotonic() < limit
            time.sleep(0.05)
        yield f"127.0.0.1:{address.port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def ask(gateway: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Run `<name>_gateway_client.py` in the environment of that name; returns the JSON that it prints."""
    shared = tmp_path_factory.getbasetemp().parent / "environments"

    def ask(name: str) -> dict[str, Any]:
        script = Path(__file__).with_name(f"{name}_gateway_client.py")
        done = subprocess.run(
            [interpreter(name, shared), "-I", str(script), gateway, "delays", "default"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return dict(json.loads(done.stdout.splitlines()[-1]))

    return ask


def test_tritons_client_over_grpc(ask: Callable[[str], dict[str, Any]]) -> None:
    said = ask("triton")
    assert said["minutes"] == [8.5, 38.25]
    assert said["ready"] is True
    assert said["inputs"] == ["airport", "hour", "wind"]
    assert "'hour' has 3 rows where others have 2" in said["refused"]
    assert "send the metadata seldon=<deployment>" in said["nobody"]


def test_seldons_client_over_grpc(ask: Callable[[str], dict[str, Any]]) -> None:
    said = ask("seldon")
    assert said["success"] is True
    assert said["answer"] == [[8.5], [38.25]]
    assert said["refused"][0] is False
    assert "expected [n, 3]" in said["refused"][1]
    assert said["feedback"][0] is True
