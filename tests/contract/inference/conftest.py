"""Real replicas: a process of `python -m chandlery.inference` over a package that Keras wrote."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
START_SECONDS = 90


@dataclass
class Process:
    """A replica and where it listens."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    def get(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def wait_ready(self) -> None:
        until = time.monotonic() + START_SECONDS
        while self.get("/v2/health/ready") != 200:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model package of the digits recipe with random weights.

    So wide that the kernels for batches round a row otherwise than alone on every processor; with 256 units they do
    not on some, and the tests of exact answers could not fail there.
    """
    import keras
    import numpy as np

    from chandlery.model import save_model
    from chandlery.provenance import Provenance
    from chandlery.recipe import load_recipe

    keras.utils.set_random_seed(7)
    loaded = load_recipe(f"{ROOT / 'examples/digits/recipe.py'}:Digits")
    parameters = dict(loaded.recipe.defaults) | {"units": 512, "activation": "gelu"}
    model = loaded.recipe.build(parameters, np.zeros((4, 64), "float32"))
    folder = tmp_path_factory.mktemp("model") / "digits"
    validation = np.random.default_rng(0).random((100, 64)).astype("float32")
    save_model(folder, model, loaded, parameters, {}, Provenance(model_version="3"), validation=validation)
    return folder


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Process]]:
    """Start replicas; whatever still runs at the end is killed."""
    running: list[Process] = []

    def start(model: Path, wait: bool = True, port: int = 0, **environment: str) -> Process:
        folder = tmp_path_factory.mktemp("replica")
        log = folder / "log.txt"
        port = port or _free_port()
        given = {
            "CHANDLERY_HOME": str(folder / "home"),
            "MODEL_URI": str(model),
            "PREDICTIVE_UNIT_ID": "digits",
            "PREDICTOR_ID": "v3",
            "SELDON_DEPLOYMENT_ID": "digits",
            "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": str(port),
        }
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "chandlery.inference"],
                env={**os.environ, **given, **environment},
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=ROOT,
            )
        running.append(Process(process, port, log))
        if wait:
            running[-1].wait_ready()
        return running[-1]

    yield start
    for replica in running:
        if replica.process.poll() is None:
            replica.process.send_signal(signal.SIGKILL)
        replica.process.wait(10)


@pytest.fixture(scope="session")
def replica(package: Path, start: Callable[..., Process]) -> Process:
    """One replica that several tests share."""
    return start(package)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
