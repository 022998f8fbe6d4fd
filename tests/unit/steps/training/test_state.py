"""What `fit` sees and what its state reaches: through every step, and the server, of a recipe with each kind of `load`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kfp import dsl
from starlette.testclient import TestClient

from chandlery.inference.app import create_app
from chandlery.inference.model import ChandleryModel
from chandlery.inference.settings import Settings
from chandlery.model import LoadedModel
from chandlery.recipe import Columns, load_recipe, part_of
from chandlery.registry.pyfunc import PackagedModel
from chandlery.steps.data.validate_dataset import validate_dataset
from chandlery.steps.training import compare_models
from chandlery.steps.training.evaluate_model import evaluate_model
from chandlery.training import contract, trial
from tests.unit.steps.training.test_steps import dataset_of, output, trained

ROWS = 600
RECIPE = '''
import json
import os

import numpy as np

from chandlery.recipe import Column, Recipe


def note(what, value):
    with open(os.environ["STATE_LOG"], "a") as log:
        log.write(json.dumps([what, value]) + "\\n")


class Mean:
    flavour = ""

    def fit(self, features, labels, *, validation, seed):
        self.mean = np.array([labels.mean() + seed])

    def predict(self, features):
        return np.broadcast_to(self.mean, len(features)) + features[:, 0]

    def save(self, folder):
        np.save(folder / "mean.npy", self.mean)

    @classmethod
    def load(cls, folder):
        model = cls()
        model.mean = np.load(folder / "mean.npy", allow_pickle=False)
        return model


class Base(Recipe):
    """Writes down which rows `fit` is given, and which state `featurize` is."""

    task = "regression"
    schema = (Column("number", "int64"), Column("x"), Column("y"))
    target = "y"
    objective = "mae"

    def fit(self, rows):
        note("fit", sorted(rows["number"].tolist()))
        return {"mean": float(np.sum(np.sort(rows["x"])) / len(rows["x"]))}

    def featurize(self, rows, state):
        note("state", state["mean"])
        return (rows["x"] - state["mean"])[:, None]

    def build(self, parameters, features, state):
        note("state", state["mean"])
        return Mean()

    def metrics(self, truth, outputs):
        return {"mae": float(np.abs(outputs - truth).mean())}

    def answer(self, outputs):
        return {"y": outputs}

    def wrong(self, prediction, truth):
        return abs(prediction - truth) > 1


class Whole(Base):
    def load(self, root):
        table = np.loadtxt(root / "rows.csv", delimiter=",", skiprows=1)
        return {c.name: table[:, index].astype(c.dtype) for index, c in enumerate(self.schema)}


class Generator(Whole):
    def load(self, root):
        rows = super().load(root)
        for start in range(0, len(rows["x"]), 90):
            yield {name: column[start : start + 90] for name, column in rows.items()}


class Files(Base):
    files = "**/*.csv"
'''


class Watched:
    """The recipe, its data, and what it wrote down since last asked."""

    def __init__(self, folder: Path, name: str, log: Path) -> None:
        self.folder, self.log = folder, log
        (folder / "source").mkdir(parents=True)
        (folder / "source" / "recipe.py").write_text(RECIPE)
        self.reference = f"{folder}/source/recipe.py:{name}"
        self.data = folder / "data"
        self.data.mkdir()
        random = np.random.default_rng(1)
        x = random.normal(5, 3, ROWS)
        table = np.column_stack([np.arange(ROWS), x, 2 * x])
        np.savetxt(
            self.data / "rows.csv",
            table,
            fmt=["%d", "%.17g", "%.17g"],
            delimiter=",",
            header="number,x,y",
            comments="",
        )
        recipe = load_recipe(self.reference).recipe
        self.rows: Columns = {
            "number": np.arange(ROWS),
            "x": x,
        }
        part = part_of(recipe, self.rows)
        self.train = set(np.flatnonzero(part == "train").tolist())
        self.mean = float(np.sum(np.sort(x[part == "train"])) / len(self.train))

    def noted(self) -> dict[str, list[Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return {what: [value for name, value in lines if name == what] for what in ("fit", "state")}

    def model(self, where: str, seed: int = 1) -> dsl.Model:
        return trained(self.folder / where, dataset_of(self.data, "c1"), self.reference, {}, seed)


@pytest.fixture(params=["Whole", "Generator", "Files"])
def watched(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "CHANDLERY_ARTIFACTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    log = tmp_path / "log.jsonl"
    monkeypatch.setenv("STATE_LOG", str(log))
    return Watched(tmp_path, request.param, log)


def test_checks_before_training_show_fit_training_rows_alone(watched: Watched) -> None:
    """`validate_dataset`, the check before a search, and `chandlery check` call `fit` on a few rows."""
    dataset = dataset_of(watched.data, "c1")
    validate_dataset(dataset, watched.reference, 1, output(dsl.HTML, watched.folder, "quality"))
    assert contract.main(["--recipe", watched.reference, "--dataset", str(watched.data)]) == 0
    seen = watched.noted()["fit"]
    assert seen
    assert all(0 < len(rows) <= contract.ROWS and watched.train.issuperset(rows) for rows in seen)


def test_search_and_training_fit_on_the_training_split(watched: Watched) -> None:
    assert trial.main(["--recipe", watched.reference, "--dataset", str(watched.data)]) == 0
    noted = watched.noted()
    assert noted["fit"] == [sorted(watched.train)]
    assert set(noted["state"]) == {watched.mean}
    watched.model("model")
    seen = watched.noted()["fit"]
    assert seen[-1] == sorted(watched.train)
    assert all(watched.train.issuperset(rows) for rows in seen)


def test_everything_after_training_reads_the_state(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = watched.model("new"), watched.model("old", seed=2)
    watched.noted()
    dataset = dataset_of(watched.data, "c1")
    monkeypatch.setattr(compare_models, "download", lambda name, version: Path(old.path))

    def evaluate() -> None:
        kinds = (dsl.Metrics, dsl.ClassificationMetrics, dsl.HTML)
        evaluate_model(dataset, new, 5, 0.9, 1, *(output(k, watched.folder, k.__name__) for k in kinds))

    def compare() -> None:
        report = output(dsl.HTML, watched.folder, "comparison")
        found = compare_models.compare_models(dataset, new, "m", "1", 0.01, 0.05, 20, 0, report=report)
        assert found.decision == "better"  # the other is a unit further off

    def serve() -> None:
        shutil.rmtree(watched.folder / "source")  # a package does not depend on where its recipe came from
        settings = Settings(
            model_uri=str(new.path), model_name="m", unit="m", predictor="p", deployment="d", image="i"
        )
        model = ChandleryModel(settings=settings)
        model.load()
        with TestClient(create_app(model, settings)) as client:
            data = {"number": [1, 2], "x": [3.0, 4.0]}
            answer = client.post("/api/v1.0/predictions", json={"jsonData": data})
        assert answer.status_code == 200
        wanted = LoadedModel(Path(new.path)).answer({name: np.array(values) for name, values in data.items()})
        assert answer.json()["jsonData"]["y"] == wanted["y"].tolist()

    def batch() -> None:
        assert len(PackagedModel(Path(new.path)).predict(watched.rows)["y"]) == ROWS

    steps: tuple[Callable[[], None], ...] = (evaluate, compare, serve, batch)
    for step in steps:
        step()
        noted = watched.noted()
        assert noted["fit"] == [], step.__name__
        assert set(noted["state"]) == {watched.mean}, step.__name__
