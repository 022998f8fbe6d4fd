"""A served table of three scalar columns on loopback, and what each client in its own environment says of it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from chandlery.inference import model as model_module
from chandlery.inference import rpc
from chandlery.inference.app import create_app
from chandlery.processes.ports import free_port
from tests.loading import load_source

from ..environments import interpreter

HERE = Path(__file__).parent
SUITE = HERE.parents[2] / "unit" / "inference" / "conftest.py"
CLIENT_SECONDS = 120


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Serve a recipe of the server's own tests: `serve("Flights")` returns its address, with `over_rpc` that of gRPC."""
    suite = load_source(SUITE)
    stops: list[Callable[[], None]] = []
    addresses: dict[str, str] = {}
    rpc_ports: dict[str, int] = {}

    def start(class_name: str) -> str:
        folder = suite.write_package(tmp_path_factory.mktemp("package") / class_name, class_name)
        settings = suite.Settings(
            model_uri=str(folder),
            model_name="flights",
            unit="flights",
            predictor="v3",
            deployment="delays",
            grpc_port=free_port(),
        )
        rpc_ports[class_name] = settings.grpc_port
        model = suite.ChandleryModel(settings=settings)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model_module, "LoadedModel", suite.NumpyModel)
            model.load()
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)  # so that a client that comes before the server waits
        server = uvicorn.Server(
            uvicorn.Config(create_app(model, settings, rpc.start), log_level="warning", ws="none")
        )
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
        thread.start()

        def stop() -> None:
            server.should_exit = True
            thread.join(10)
            listener.close()

        stops.append(stop)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    def serve(class_name: str, over_rpc: bool = False) -> str:
        if class_name not in addresses:
            addresses[class_name] = start(class_name)
        return f"127.0.0.1:{rpc_ports[class_name]}" if over_rpc else addresses[class_name]

    yield serve
    for stop in stops:
        stop()


@pytest.fixture(scope="session")
def ask(
    serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[str], dict[str, Any]]:
    """Run `<name>_client.py` (without `_rpc`) in the environment of that name; returns the JSON that it prints. Once a session."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if hasattr(request.config, "workerinput") else base) / "environments"
    said: dict[str, dict[str, Any]] = {}

    def ask(name: str) -> dict[str, Any]:
        if name not in said:
            # `triton_rpc` is Triton's environment and its script, with the address of gRPC
            client = name.removesuffix("_rpc")
            python = interpreter(client, shared)
            address = serve("Flights", over_rpc=name.endswith("_rpc"))
            found = subprocess.run(
                [str(python), "-I", str(HERE / f"{client}_client.py"), address],
                capture_output=True,
                text=True,
                timeout=CLIENT_SECONDS,
                check=False,
            )
            assert found.returncode == 0, found.stderr[-3000:]
            said[name] = json.loads(found.stdout.splitlines()[-1])
        return said[name]

    return ask
