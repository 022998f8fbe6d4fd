"""Fitting: reproducible, resumable to the same bits, and refusing with two lines. All of it imports TensorFlow."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chandlery.errors import ChandleryError, RecipeError, TrainingError
from chandlery.model import model_digest
from chandlery.recipe import Columns, LoadedRecipe, Value, load_recipe, take
from chandlery.training import checkpoint
from chandlery.training.fitting import Fit, fit

pytestmark = pytest.mark.slow

LOADED = load_recipe("examples/digits/recipe.py:Digits")
SHORT = {"epochs": 5, "dropout": 0.3, "units": 16}


@pytest.fixture(scope="module")
def rows() -> Columns:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return {"pixels": pixels[:400].astype("float32"), "label": labels[:400].astype("int64")}


def digest(result: Fit) -> str:
    return model_digest(result.model, LOADED.digest, result.parameters)


@pytest.fixture(scope="module")
def uninterrupted(rows: Columns) -> Fit:
    return fit(LOADED, rows, SHORT, seed=3)


def test_the_same_seed_gives_the_same_weights(rows: Columns, uninterrupted: Fit) -> None:
    assert digest(fit(LOADED, rows, SHORT, seed=3)) == digest(uninterrupted)
    assert digest(fit(LOADED, rows, SHORT, seed=4)) != digest(uninterrupted)


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_resumed_training_ends_with_the_same_weights(
    rows: Columns, uninterrupted: Fit, tmp_path: Path, stop: int
) -> None:
    def die(figures: dict[str, float]) -> None:
        if figures["epoch"] == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(LOADED, rows, SHORT, seed=3, checkpoint_folder=str(tmp_path), on_epoch=die)
    resumed = fit(LOADED, rows, SHORT, seed=3, checkpoint_folder=str(tmp_path))
    assert resumed.resumed == stop
    assert digest(resumed) == digest(uninterrupted)
    assert resumed.history == uninterrupted.history
    assert resumed.metrics == uninterrupted.metrics


def test_patience_keeps_the_best_epoch_also_when_resumed(rows: Columns, tmp_path: Path) -> None:
    # So fast a rate that the objective soon gets worse.
    parameters = {**SHORT, "epochs": 12, "patience": 2, "learning_rate": 0.02, "units": 128}
    whole = fit(LOADED, rows, parameters, seed=1)
    best = max(figures["accuracy"] for figures in whole.history)
    assert whole.objective == best == whole.history[whole.epoch - 1]["accuracy"]
    if len(whole.history) < 12:
        assert len(whole.history) == whole.epoch + 2

    def die(figures: dict[str, float]) -> None:
        if figures["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(LOADED, rows, parameters, seed=1, checkpoint_folder=str(tmp_path), on_epoch=die)
    assert digest(fit(LOADED, rows, parameters, seed=1, checkpoint_folder=str(tmp_path))) == digest(whole)


@pytest.mark.parametrize("damage", ["truncated", "other model"])
def test_a_useless_checkpoint_is_ignored(
    rows: Columns, uninterrupted: Fit, tmp_path: Path, damage: str
) -> None:
    fit(LOADED, rows, {**SHORT, "epochs": 1, "units": 17}, seed=3, checkpoint_folder=str(tmp_path))
    path = tmp_path / checkpoint.FILE
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    result = fit(LOADED, rows, SHORT, seed=3, checkpoint_folder=str(tmp_path))
    assert (result.resumed, digest(result)) == (0, digest(uninterrupted))


def test_a_checkpoint_folder_that_cannot_be_written_says_so(rows: Columns, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot write the checkpoint"):
        fit(LOADED, rows, SHORT, checkpoint_folder=str(tmp_path / "file" / "below"))


def broken(**methods: Any) -> LoadedRecipe:
    cls = type("Broken", (type(LOADED.recipe),), methods)
    return LoadedRecipe(cls(), LOADED.reference, LOADED.digest, LOADED.source, LOADED.entry)


def _raise(*_: Any) -> Any:
    raise ZeroDivisionError("oh no")


def _uncompiled(self: Any, parameters: Mapping[str, Value], features: np.ndarray) -> Any:
    import keras

    return keras.Sequential([keras.Input(features.shape[1:]), keras.layers.Dense(10)])


@pytest.mark.parametrize(
    ("methods", "error", "words"),
    [
        ({"build": _raise}, RecipeError, r"Broken\.build raised ZeroDivisionError: oh no"),
        ({"featurize": _raise}, RecipeError, r"Broken\.featurize raised ZeroDivisionError"),
        ({"metrics": _raise}, RecipeError, r"Broken\.metrics raised ZeroDivisionError"),
        ({"labels": lambda s, rows: rows["label"][:3]}, TrainingError, r"labels returned int64\[3\]"),
        ({"labels": lambda s, rows: rows["label"].astype(str)}, TrainingError, "labels returned <U"),
        ({"labels": lambda s, rows: rows["label"] + 5}, TrainingError, "training failed in epoch 1"),
        ({"metrics": lambda s, t, o: {"f1": 1.0}}, TrainingError, "does not return its objective 'accuracy'"),
        (
            {"metrics": lambda s, t, o: {"accuracy": float("nan")}},
            TrainingError,
            "accuracy is nan in epoch 1",
        ),
        ({"build": _uncompiled}, TrainingError, "compiled Keras model"),
    ],
)
def test_a_broken_recipe_ends_in_two_lines(
    rows: Columns, methods: dict[str, Any], error: type[ChandleryError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        fit(broken(**methods), rows, SHORT)
    assert len(str(caught.value).splitlines()) == 2


def test_a_batch_larger_than_the_data_is_the_data(rows: Columns) -> None:
    assert fit(LOADED, take(rows, np.arange(60)), {**SHORT, "batch_size": 4096, "epochs": 1}).rows < 60


KILLED = """
import sys
from pathlib import Path
import numpy as np
from chandlery.recipe import load_recipe
from chandlery.training.fitting import fit
from chandlery.model import model_digest
loaded = load_recipe("examples/digits/recipe.py:Digits")
rows = dict(np.load(sys.argv[1]))
result = fit(loaded, rows, {"epochs": 5, "dropout": 0.3, "units": 16}, 3, sys.argv[2],
             on_epoch=lambda f: print("epoch", int(f["epoch"]), flush=True))
print("resumed", result.resumed, model_digest(result.model, loaded.digest, result.parameters), flush=True)
"""


def test_kill_9_and_again_gives_the_same_weights_in_another_process(
    rows: Columns, uninterrupted: Fit, tmp_path: Path
) -> None:
    np.savez(tmp_path / "rows.npz", **rows)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "rows.npz"), str(tmp_path / "checkpoint")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "epoch 2\n":
                os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    word, resumed, found = again.stdout.splitlines()[-1].split()
    assert word == "resumed"
    assert 2 <= int(resumed) < 5
    assert found == digest(uninterrupted)
