from __future__ import annotations

import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chandlery import addresses
from chandlery.embedded.experiments import run_controller
from chandlery.embedded.resources import EmbeddedStore
from chandlery.resources import EXPERIMENT

from .backends import VARIABLE, Katib, cluster, embedded, fresh_namespace


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in addresses.VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(home / "resources")
    yield store
    store.close()


@pytest.fixture
def controller() -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=run_controller, args=(stop,))
    thread.start()
    yield
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(params=["embedded", pytest.param("cluster", marks=pytest.mark.real(VARIABLE))])
def katib(request: pytest.FixtureRequest) -> Iterator[Katib]:
    """The Katib that a behaviour is tried on."""
    if request.param == "cluster":
        with cluster(fresh_namespace()) as found:
            yield found
        return
    store = request.getfixturevalue("store")
    request.getfixturevalue("controller")
    yield embedded(store)


@pytest.fixture
def make_experiment(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Returns a function that makes an Experiment whose trials run `code` with their parameters as arguments.

    The code finds `x` (float), `y` (str) and `write(name, value)`.
    """

    def make(code: str, *, name: str = "search", **spec: Any) -> dict[str, Any]:
        program = tmp_path / f"{name}.py"
        program.write_text(
            "import sys, time, os\nx, y = float(sys.argv[1]), sys.argv[2]\n"
            "write = lambda name, value: print(f'{name}={value}', flush=True)\n" + textwrap.dedent(code)
        )
        return {
            "apiVersion": EXPERIMENT.api_version,
            "kind": "Experiment",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "objective": {"type": "maximize", "objectiveMetricName": "accuracy"},
                "algorithm": {
                    "algorithmName": "random",
                    "algorithmSettings": [{"name": "random_state", "value": "1"}],
                },
                "parallelTrialCount": 2,
                "maxTrialCount": 4,
                "maxFailedTrialCount": 2,
                "parameters": [
                    {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}},
                    {"name": "y", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b"]}},
                ],
                "trialTemplate": {
                    "primaryContainerName": "training-container",
                    "trialParameters": [{"name": "ex", "reference": "x"}, {"name": "why", "reference": "y"}],
                    "trialSpec": job(
                        [
                            sys.executable,
                            "-I",
                            "-S",
                            str(program),
                            "${trialParameters.ex}",
                            "${trialParameters.why}",
                        ]
                    ),
                },
                **spec,
            },
        }

    return make


def job(command: list[str], **spec: Any) -> dict[str, Any]:
    container = {"name": "training-container", "image": "none", "command": command}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {**spec, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


@pytest.fixture
def wait_for(store: EmbeddedStore) -> Callable[..., dict[str, Any]]:
    """Returns a function that waits until an Experiment meets a condition, and returns it then."""

    def wait(
        name: str = "search", until: Callable[[dict[str, Any]], Any] | None = None, seconds: float = 120
    ) -> dict[str, Any]:
        from chandlery.embedded.experiments.status import TERMINAL_EXPERIMENT, is_set

        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            document = store.get(EXPERIMENT, name, "default")
            if until(document) if until else is_set(document, *TERMINAL_EXPERIMENT):
                return document
            time.sleep(0.02)
        raise AssertionError(f"still not so after {seconds} s: {document.get('status')}")

    return wait
