"""One laptop platform for the tests of the whole life, driven as a user drives it: by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
RECIPE = f"{ROOT / 'examples' / 'digits' / 'recipe.py'}:Digits"
BAD_RECIPE = f"{ROOT / 'examples' / 'digits' / 'recipe.py'}:MislabelledDigits"


@dataclass(frozen=True)
class Laptop:
    """A home and the command line on it."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        known = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CHANDLERY_", "MLFLOW_"))
        }
        return {**known, "CHANDLERY_HOME": str(self.home)}

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "chandlery.cli.main", *words],
            env=self.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def call(self, *words: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{' '.join(words)} took over {timeout} s\n{out}\n{err}") from None
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def json(self, *words: str, timeout: float = 400) -> Any:
        """Run a command that must succeed and return what it printed as JSON."""
        done = self.call(*words, "--json", timeout=timeout)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}\n{self.log()}"
        return json.loads(done.stdout)

    def log(self) -> str:
        """The end of the last run's log."""
        return self.call("logs", "last", "-n", "60").stdout


def release(recipe: str, **more: str) -> list[str]:
    """Words of a `train_and_deploy` of the digits that is as small as can be."""
    arguments = {
        "recipe": recipe,
        "repo": "digits",
        "model_name": "digits",
        "max_trials": "2",
        "parameters": "{epochs: 10, units: 48, activation: relu}",
        "traffic_repo": "digits-traffic",
        "replay_rate": "150",
        "canary_deadline_seconds": "150",
        **more,
    }
    pairs = [word for name, value in arguments.items() for word in ("-p", f"{name}={value}")]
    return ["run", "train_and_deploy", *pairs]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The example's data: two states of the history, and recorded traffic."""
    target = tmp_path_factory.mktemp("digits")
    script = ROOT / "examples" / "digits" / "data.py"
    subprocess.run([sys.executable, str(script), str(target)], check=True, capture_output=True)
    return {name: target / name for name in ("history-1", "history-2", "traffic")}


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A home of its own, with everything stopped afterwards."""
    found = Laptop(tmp_path_factory.mktemp("laptop") / "home")
    yield found
    stopped = found.call("down", timeout=120)
    assert stopped.returncode == 0, stopped.stderr


def asked(node: dict[str, Any]) -> dict[str, Any]:
    """The node of a lineage tree that was asked for."""
    if node["asked"]:
        return node
    return next((found for child in node["children"] if (found := asked(child))["asked"]), node)
