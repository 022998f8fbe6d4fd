"""A search of 24 trials, two at a time: what the controller costs, beside a plain optuna loop over the same commands."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import LIMIT, OURS, Aim, Contender, Figure, Row, Setting

PARALLEL = 2
TRIALS = 24
TRIAL_SECONDS = 1.0
KINDS = ("sleep", "cpu", "uneven")

_DEADLINE_SECONDS = 300.0
_RATE = ("rate", 1e-4, 1e-1)
_DEPTH = ("depth", 1, 8)
# A trial waits, works, or waits between half and one and a half times as long, and prints one figure.
_TRIAL = """
import sys, time
kind, amount, rate, depth = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
if kind == "cpu":
    total = 0
    for number in range(int(amount)):
        total += number * number
else:
    time.sleep(amount * (0.5 + rate * 1e6 % 1 if kind == "uneven" else 1))
print(f"accuracy={1 - (rate - 0.01) ** 2 - (depth - 5) ** 2 / 100}", flush=True)
"""


def _contenders(setting: Setting) -> list[Contender]:
    from importlib.metadata import version

    program = setting.scratch / "trial.py"
    program.write_text(_TRIAL, encoding="utf-8")
    trials, seconds = (4, 0.1) if setting.quick else (TRIALS, TRIAL_SECONDS)
    amounts = {"sleep": seconds, "cpu": float(_count(seconds)), "uneven": seconds}
    commands = {
        kind: [sys.executable, "-I", "-S", str(program), kind, str(amount)]
        for kind, amount in amounts.items()
    }
    return [
        Contender("chandlery", OURS, partial(_ours, setting.scratch / "home", commands, trials)),
        Contender("plain optuna", LIMIT, partial(_plain, commands, trials), {"optuna": version("optuna")}),
    ]


@contextmanager
def _ours(
    home: Path, commands: dict[str, list[str]], trials: int
) -> Iterator[Callable[[int], dict[str, float]]]:
    """The controller as `chandlery up` starts it, and the client in this process."""
    from chandlery.embedded.resources import EmbeddedStore
    from chandlery.search import run_search

    environment = {name: text for name, text in os.environ.items() if not name.startswith("CHANDLERY_")}
    controller = subprocess.Popen(
        [sys.executable, "-m", "chandlery.embedded.experiments"],
        env={**environment, "CHANDLERY_HOME": str(home)},
    )
    store = EmbeddedStore(home / "resources")

    def run(number: int) -> dict[str, float]:
        figures = {}
        for kind, command in commands.items():
            document = _experiment(f"{kind}-{number}", command, trials, number)
            began = time.perf_counter()
            with redirect_stdout(io.StringIO()):
                found = run_search(store, document, deadline_seconds=_DEADLINE_SECONDS)
            figures[kind] = time.perf_counter() - began
            assert len(found.trials) == trials
        return figures

    try:
        yield run
    finally:
        store.close()
        controller.terminate()
        controller.wait(30)


@contextmanager
def _plain(commands: dict[str, list[str]], trials: int) -> Iterator[Callable[[int], dict[str, float]]]:
    """The same sampler asked and told by two threads, each of which runs one command after another."""

    def run(number: int) -> dict[str, float]:
        figures = {}
        for kind, command in commands.items():
            began = time.perf_counter()
            _optuna_loop(command, trials, number)
            figures[kind] = time.perf_counter() - began
        return figures

    yield run


def _optuna_loop(command: list[str], trials: int, seed: int) -> None:
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    lock = threading.Lock()

    def one(_: int) -> None:
        with lock:
            trial = study.ask()
            rate = trial.suggest_float(*_RATE, log=True)
            depth = trial.suggest_int(*_DEPTH)
        done = subprocess.run(
            [*command, str(rate), str(depth)],
            check=True,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_SECONDS,
        )
        with lock:
            study.tell(trial, float(done.stdout.partition("=")[2]))

    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(one, range(trials)))


def _experiment(name: str, command: list[str], trials: int, seed: int) -> dict[str, Any]:
    container = {
        "name": "trial",
        "image": "none",
        "command": [*command, "${trialParameters.rate}", "${trialParameters.depth}"],
    }
    names = (_RATE[0], _DEPTH[0])
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "objective": {"type": "maximize", "objectiveMetricName": "accuracy"},
            "algorithm": {
                "algorithmName": "multivariate-tpe",
                "algorithmSettings": [{"name": "random_state", "value": str(seed)}],
            },
            "parallelTrialCount": PARALLEL,
            "maxTrialCount": trials,
            "maxFailedTrialCount": 1,
            "parameters": [
                {
                    "name": _RATE[0],
                    "parameterType": "double",
                    "feasibleSpace": {
                        "min": str(_RATE[1]),
                        "max": str(_RATE[2]),
                        "distribution": "logUniform",
                    },
                },
                {
                    "name": _DEPTH[0],
                    "parameterType": "int",
                    "feasibleSpace": {"min": str(_DEPTH[1]), "max": str(_DEPTH[2])},
                },
            ],
            "trialTemplate": {
                "primaryContainerName": "trial",
                "trialParameters": [{"name": name, "reference": name} for name in names],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
                },
            },
        },
    }


def _count(seconds: float) -> int:
    """Return how many turns of the trial's loop take that long on a core of this machine."""
    turns, total = 2_000_000, 0
    began = time.process_time()
    for number in range(turns):
        total += number * number
    return round(turns * seconds / (time.process_time() - began))


ROWS = (
    Row(
        "search",
        f"search of {TRIALS} trials of about {TRIAL_SECONDS:g} s, {PARALLEL} at a time",
        contenders=_contenders,
        figures=tuple(Figure(kind, "s") for kind in KINDS),
        aims=(
            Aim("sleep", at_most=1.1, against="plain optuna"),
            Aim("cpu", at_most=1.1, against="plain optuna"),
        ),
        notes="From submission until the client has the result, the controller running as `chandlery up` leaves it; plain optuna "
        "without its import. Trials sleep, or do a fixed amount of work. `uneven` has trials of 0.5 to 1.5 s: "
        "with an algorithm that learns, a trial here waits for the oldest that runs, so that equal seeds give equal "
        "searches whatever finishes first; the plain loop asks in the order in which trials happen to end.",
    ),
)
