"""Protects: the model class runs unchanged in Seldon's own wrapper, and answers there as in our server."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

# One worker: the wrapper starts once.
pytestmark = [pytest.mark.slow]

ROOT = Path(__file__).parents[2]
WRAPPER = ROOT / "images" / "seldon-wrapper"
RECIPE = ROOT / "tests" / "unit" / "inference" / "recipes" / "recipe.py"
INSTALL_SECONDS = 600
START_SECONDS = 120
IDENTITY = {
    "PREDICTIVE_UNIT_ID": "flights",
    "PREDICTIVE_UNIT_IMAGE": "chandlery-python:1.2",
    "PREDICTOR_ID": "v3",
    "SELDON_DEPLOYMENT_ID": "delays",
}
NAMES = ["airport", "hour", "wind"]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with text, whole and missing numbers, so that each conversion of the wrapper is passed through."""
    import keras

    from chandlery.model import save_model
    from chandlery.provenance import Provenance
    from chandlery.recipe import load_recipe

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])
    folder = tmp_path_factory.mktemp("model") / "flights"
    save_model(folder, model, load_recipe(f"{RECIPE}:Flights"), {}, {}, Provenance(model_version="3"))
    return folder


@pytest.fixture(scope="module")
def environment() -> Path:
    """Seldon's environment, kept from run to run; made by uv from its own lock."""
    uv = shutil.which("uv") or shutil.which("uv", path=ROOT / ".tools" / "bin")
    if uv is None:
        pytest.skip("uv, which makes the environment of Seldon's wrapper, is neither on PATH nor in .tools")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "chandlery-tests" / "seldon-wrapper"
    made = subprocess.run(
        [uv, "sync", "--quiet", "--frozen", "--project", str(WRAPPER)],
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(folder)},
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    if made.returncode != 0:
        pytest.skip(f"uv cannot install Seldon's wrapper here: {made.stderr.strip()[-300:]}")
    return folder


@pytest.fixture(scope="module")
def wrapper(package: Path, environment: Path, tmp_path_factory: pytest.TempPathFactory):
    """A client of the model class under `seldon-core-microservice`."""
    folder = tmp_path_factory.mktemp("wrapper")
    rest, grpc, metrics = _free_ports(3)
    log = folder / "log.txt"
    with log.open("w") as out:
        process = subprocess.Popen(
            [
                str(environment / "bin" / "seldon-core-microservice"),
                "chandlery.inference.model.ChandleryModel",
            ],
            env={
                **os.environ,
                **IDENTITY,
                "CHANDLERY_HOME": str(folder),
                "MODEL_URI": str(package),
                "PYTHONPATH": str(ROOT),
                "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": str(rest),
                "PREDICTIVE_UNIT_GRPC_SERVICE_PORT": str(grpc),
                "PREDICTIVE_UNIT_METRICS_SERVICE_PORT": str(metrics),
            },
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{rest}", timeout=30) as client:
            _wait(client, process, log)
            client.metrics_address = f"http://127.0.0.1:{metrics}/metrics"  # type: ignore[attr-defined]
            yield client
    finally:
        # Its children outlive it and keep the ports: the whole group goes.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.fixture(scope="module")
def ours(package: Path, tmp_path_factory: pytest.TempPathFactory):
    """A client of the same class in our server."""
    from starlette.testclient import TestClient

    from chandlery.inference.app import create_app
    from chandlery.inference.model import ChandleryModel
    from chandlery.inference.settings import from_environment

    settings = from_environment({**IDENTITY, "MODEL_URI": str(package)})
    model = ChandleryModel(settings=settings)
    model.load()
    with TestClient(create_app(model, settings)) as client:
        yield client


@pytest.mark.parametrize(
    "data",
    [
        {"data": {"ndarray": [["HAM", 7, 0.5], ["LEJ", 8, 30.25]]}},
        {"data": {"names": NAMES, "ndarray": [["HAM", 7, 1e-7]]}},
        {"data": {"names": ["wind", "hour", "airport"], "ndarray": [[3.5, 23, "LEJ"]]}},
        {"data": {"ndarray": [["HAM", 7, None]]}},
        {"jsonData": {"airport": ["HAM"], "hour": [7], "wind": [0.1]}},
        {"jsonData": {"airport": ["HAM", "LEJ"], "hour": [0, 23], "wind": [None, 2.0]}},
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/api/v1.0/predictions"])
def test_same_answers(wrapper, ours, data, path):
    sent = data | {"meta": {"puid": "p1", "tags": {"mine": "x"}}}
    theirs, own = wrapper.post(path, json=sent), ours.post(path, json=sent)
    assert (theirs.status_code, own.status_code) == (200, 200), theirs.text
    assert _shape(theirs.json()) == _shape(own.json())
    # Two releases of TensorFlow may differ in the last bits.
    np.testing.assert_allclose(_numbers(theirs.json()), _numbers(own.json()), rtol=1e-5)


def test_same_answer_to_a_form(wrapper, ours):
    form = {"json": '{"data": {"ndarray": [["HAM", 7, 0.5]]}}'}
    theirs, own = wrapper.post("/predict", data=form).json(), ours.post("/predict", data=form).json()
    assert _shape(theirs["data"]) == _shape(own["data"])
    np.testing.assert_allclose(_numbers(theirs["data"]), _numbers(own["data"]), rtol=1e-5)


@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"ndarray": [["HAM", 7]]}},
        {"data": {"ndarray": [["HAM", "seven", 0.5]]}},
        {"data": {"names": ["a", "b", "c"], "ndarray": [["HAM", 7, 0.5]]}},
        {"jsonData": {"hour": [7]}},
        {"jsonData": {"airport": ["HAM"], "hour": [7.5], "wind": [0.5]}},
    ],
)
def test_same_refusals(wrapper, ours, sent):
    theirs, own = wrapper.post("/predict", json=sent), ours.post("/predict", json=sent)
    assert (theirs.status_code, own.status_code) == (400, 400)
    for field in ("info", "reason"):
        assert theirs.json()["status"][field] == own.json()["status"][field]


def test_same_health_and_metadata(wrapper, ours):
    assert wrapper.get("/health/status").json() == ours.get("/health/status").json()
    assert wrapper.get("/health/ping").text == ours.get("/health/ping").text
    theirs, own = wrapper.get("/metadata").json(), ours.get("/metadata").json()
    # The wrapper asks before the model is loaded, when its answers are not known yet, nor what will compute them.
    known = {name: own["custom"].pop(name) for name in ("runtime", "exact")}
    assert known == {"runtime": "tensorflow", "exact": False}
    assert theirs | {"outputs": own["outputs"]} == own


def test_zero_rewards_are_counted_there_too(wrapper):
    request = {"data": {"ndarray": [["HAM", 7, 0.5]]}}
    predicted = wrapper.post("/predict", json=request).json()["data"]["ndarray"][0][0]
    for truth in (predicted, predicted + 100):
        feedback = {"request": request, "truth": {"data": {"ndarray": [[truth]]}}, "reward": 0}
        assert wrapper.post("/send-feedback", json=feedback).status_code == 200
    text = httpx.get(wrapper.metrics_address, timeout=10).text
    counted = {
        outcome: any(
            line.startswith("chandlery_feedback_total{")
            and f'outcome="{outcome}"' in line
            and line.endswith(" 1.0")
            for line in text.splitlines()
        )
        for outcome in ("right", "wrong")
    }
    assert counted == {"right": True, "wrong": True}


def _wait(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/health/status").status_code == 200:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)


def _shape(value):
    """Return the document with every float replaced, so that structure, names and types can be compared exactly."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return "float" if isinstance(value, float) else value


def _numbers(value) -> list[float]:
    if isinstance(value, dict):
        return [number for name in sorted(value) for number in _numbers(value[name])]
    if isinstance(value, list):
        return [number for inner in value for number in _numbers(inner)]
    return [value] if isinstance(value, float) else []


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
