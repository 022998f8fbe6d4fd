"""The search trial: what a metrics collector reads, and two-line errors with the right exit code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from chandlery.training.trial import main
from tests.loading import load_example

RECIPE = "examples/digits/recipe.py:Digits"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--recipe", "absent.py:Digits", "--dataset", "."], 2, "no file"),
        (["--recipe", RECIPE], 2, "the trial has no data"),
        (["--recipe", RECIPE, "--dataset", "/nowhere"], 2, "is not a folder"),
        (["--recipe", RECIPE, "--dataset", "components/training"], 1, "has no rows"),
        (["--recipe", RECIPE, "--dataset", ".", "--parameter", "unit=3"], 2, "no parameter 'unit'"),
        (["--recipe", RECIPE, "--dataset", ".", "--parameter", "units"], 2, "not name=value"),
    ],
)
def test_errors(arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert len(captured.err.splitlines()) == 2
    assert captured.out == ""


@pytest.mark.slow
def test_metric_lines(tmp_path: Path) -> None:
    data = load_example("digits")
    folder = data.write(tmp_path)["history-1"]
    command = [sys.executable, "-m", "chandlery.training.trial", "--recipe", RECIPE, "--dataset", str(folder)]
    command += ["--parameter", "epochs=3", "--parameter", "units=16", "--parameter", "activation=tanh"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = done.stdout.splitlines()
    assert all(re.fullmatch(r"[a-z_]+=-?[0-9.e+-]+", line) for line in lines), done.stdout
    assert [line for line in lines if line.startswith("epoch=")] == ["epoch=1", "epoch=2", "epoch=3"]
    accuracies = [line for line in lines if line.startswith("accuracy=")]
    assert len(accuracies) == 4
    assert lines[-1] == accuracies[-1] == accuracies[-2], "the objective of the finished model comes last"
    assert sum(line.startswith("loss=") for line in lines) == 3


@pytest.mark.slow
def test_trial_of_a_recipe_that_learns_and_streams(tmp_path: Path) -> None:
    load_example("news").write(tmp_path, 300, 1)
    command = [sys.executable, "-m", "chandlery.training.trial", "--recipe", "examples/news/recipe.py:News"]
    command += ["--dataset", str(tmp_path), "--parameter", "epochs=2", "--parameter", "units=8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    lines = done.stdout.splitlines()
    assert all(re.fullmatch(r"[a-z_]+=-?[0-9.e+-]+", line) for line in lines), done.stdout
    assert [line for line in lines if line.startswith("epoch=")] == ["epoch=1", "epoch=2"]
    assert lines[-1].startswith("accuracy=")
    assert list((tmp_path).iterdir()) == [tmp_path / "news.csv"], "a trial leaves the data as it was"
