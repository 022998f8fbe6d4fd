"""What is under way in a round: how it is started, and what must be true once it has been completed."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chandlery import platform

from .house import House
from .package import make_package
from .plan import Round

MODEL = "chaos"
TRIALS = 4
TRIAL = """
import sys, time
for step in range(5):
    time.sleep(0.1)
    print(f"accuracy={float(sys.argv[1]) * step / 5}", flush=True)
"""


@dataclass(frozen=True)
class Work:
    """One piece of work.

    Attributes:
        words: its command, after `python -m`.
        check: returns what is wrong once it has been completed, nothing when all is well.
    """

    words: list[str]
    check: Callable[[], list[str]]


def work_of(house: House, turn: Round, folder: Path) -> Work:
    """Return the work of a round; what it reads is written to `folder`."""
    return MAKERS[turn.work](house, turn, folder)


def _write(house: House, turn: Round, folder: Path) -> Work:
    source = _files(folder / "source", turn.seed)
    content = {"source": str(source), "repo": "written"}
    return Work(_worker(turn, content), lambda: _holds("written", source))


def _commit(house: House, turn: Round, folder: Path) -> Work:
    source = _files(folder / "source", turn.seed)
    words = ["run", "commit_dataset", "-p", f"source={source}", "-p", "repo=committed", "--json"]
    return Work(_command(words), lambda: _holds("committed", source))


def _checkout(house: House, turn: Round, folder: Path) -> Work:
    from chandlery import data

    source = _files(folder / "source", turn.seed)
    commit = data.commit(str(source), "committed").commit
    words = ["run", "checkout_dataset", "-p", "repo=committed", "-p", f"ref={commit}", "--json"]
    return Work(_command(words), lambda: _holds("committed", source))


def _search(house: House, turn: Round, folder: Path) -> Work:
    program = folder / "trial_program.py"
    program.write_text(TRIAL)
    name = f"chaos-{turn.number}-{turn.seed}"
    document = _experiment(
        name, [sys.executable, "-I", "-S", str(program), "${trialParameters.x}"], turn.seed
    )
    return Work(_worker(turn, {"document": document}), lambda: _searched(name))


def _register(house: House, turn: Round, folder: Path) -> Work:
    digest = f"{turn.seed:0>64x}"
    make_package(folder / "package", digest)
    content = {"package": str(folder / "package"), "model": MODEL, "digest": digest}
    return Work(_worker(turn, content), lambda: _registered(digest))


def _aliases(house: House, turn: Round, folder: Path) -> Work:
    from chandlery.registry import versions

    found = sorted(int(info.version) for info in versions(MODEL))
    chosen = [str(version) for version in random.Random(turn.seed).sample(found, 2)]
    return Work(_worker(turn, {"model": MODEL, "versions": chosen}), lambda: _champion(chosen[-1]))


def _release(house: House, turn: Round, folder: Path) -> Work:
    versions = [str(version) for version in random.Random(turn.seed).sample(range(1, 9), 2)]
    content = {"deployment": "letters", "versions": versions, "seed": turn.seed}
    return Work(_worker(turn, content), lambda: _asked("letters", [f"v{versions[-1]}"]))


def _roll(house: House, turn: Round, folder: Path) -> Work:
    content = {"deployment": "pairs", "versions": ["1"], "seed": turn.seed}
    return Work(_worker(turn, content), lambda: _asked("pairs", ["v1"]))


def _restart(house: House, turn: Round, folder: Path) -> Work:
    return Work(_worker(turn, {}), list)


def _life(house: House, turn: Round, folder: Path) -> Work:
    from chandlery import data

    from ..local.lifecycle.conftest import RECIPE, release

    digits = house.base / "digits"
    for name, repo in (("traffic", "digits-traffic"), ("history-1", "digits")):
        data.commit(str(digits / name), repo)
    small = {"max_trials": "1", "parameters": "{epochs: 3, units: 16, activation: relu}"}
    words = release(RECIPE, seed=str(turn.seed % 1000), canary_deadline_seconds="60", **small)
    return Work(_command([*words, "--json"]), lambda: [])


MAKERS: dict[str, Callable[[House, Round, Path], Work]] = {
    "write": _write,
    "commit": _commit,
    "checkout": _checkout,
    "search": _search,
    "register": _register,
    "aliases": _aliases,
    "release": _release,
    "roll": _roll,
    "restart": _restart,
    "life": _life,
}


def _worker(turn: Round, content: dict[str, Any]) -> list[str]:
    return ["tests.chaos.worker", turn.work, json.dumps(content)]


def _command(words: list[str]) -> list[str]:
    return ["chandlery.cli.main", *words]


def _files(folder: Path, seed: int) -> Path:
    """Write files of all sizes, one of them in several chunks."""
    dice = random.Random(seed)
    folder.mkdir()
    for number in range(dice.randint(1, 40)):
        path = folder / f"{number % 3}" / f"{number}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(dice.randbytes(dice.choice((0, 10, 1000, 60_000))))
    (folder / "large.bin").write_bytes(dice.randbytes(dice.randint(1, 3_000_000)))
    return folder


def _experiment(name: str, command: list[str], seed: int) -> dict[str, Any]:
    container = {"name": "training-container", "image": "none", "command": command}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "objective": {"type": "maximize", "objectiveMetricName": "accuracy"},
            "algorithm": {
                "algorithmName": "random",
                "algorithmSettings": [{"name": "random_state", "value": str(seed)}],
            },
            "parallelTrialCount": 2,
            "maxTrialCount": TRIALS,
            "maxFailedTrialCount": 2,
            "parameters": [
                {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
            ],
            "trialTemplate": {
                "primaryContainerName": "training-container",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
                },
            },
        },
    }


def _holds(repo: str, source: Path) -> list[str]:
    from chandlery import data

    found, wanted = _contents(data.checkout(repo, "master")), _contents(source)
    different = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return [f"{repo}@master does not hold what was committed: {different[:5]}"] if different else []


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _searched(name: str) -> list[str]:
    from chandlery.resources import EXPERIMENT, TRIAL
    from chandlery.resources.experiment_status import condition

    store = platform.open_resources()
    try:
        document = store.get(EXPERIMENT, name, "default")
        trials = store.list(TRIAL, "default", f"katib.kubeflow.org/experiment={name}")
    finally:
        store.close()
    wrong = (
        []
        if condition(document, "Succeeded")
        else [f"experiment {name} has not succeeded: {document['status']}"]
    )
    counted = document["status"].get("trialsSucceeded", 0)
    if len(trials) != TRIALS or counted != TRIALS:
        wrong.append(
            f"experiment {name}: {len(trials)} trials, {counted} counted as succeeded, {TRIALS} asked for"
        )
    return wrong


def _registered(digest: str) -> list[str]:
    from chandlery.registry import download, versions

    found = [info for info in versions(MODEL, incomplete=True) if info.digest == digest]
    if len(found) != 1 or found[0].state != "complete":
        said = [(info.version, info.state) for info in found]
        return [f"one complete version of {digest[-8:]} should be registered, there are {said}"]
    download(MODEL, found[0].version)  # which checks every digest
    return []


def _champion(version: str) -> list[str]:
    from chandlery.registry import champion

    found = champion(MODEL)
    return [] if found == version else [f"the champion is {found}, asked for {version}"]


def _asked(name: str, predictors: list[str]) -> list[str]:
    from chandlery.resources import SELDON_DEPLOYMENT

    store = platform.open_resources()
    try:
        found = [p["name"] for p in store.get(SELDON_DEPLOYMENT, name, "default")["spec"]["predictors"]]
    finally:
        store.close()
    return [] if found == predictors else [f"deployment {name} asks for {found}, not for {predictors}"]


__all__ = ["MODEL", "Work", "work_of"]
