"""tune_hyperparameters as a pipeline runs it: real trials of the digits recipe on a real commit."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import yaml

from chandlery import data, provenance
from chandlery.errors import UserError
from chandlery.steps.search.tune_hyperparameters import SearchParameters, tune_hyperparameters
from tests.components import run as run_pipeline
from tests.loading import load_component

ROOT = Path(__file__).parents[3]
RECIPE = f"{ROOT}/examples/digits/recipe.py:Digits"


class Artifact:
    def __init__(self, path: Path | str = "", **metadata: str) -> None:
        self.path = str(path)
        self.metadata = dict(metadata)


def call(dataset: Artifact, **changes):
    arguments = {
        "algorithm": "random",
        "max_trials": 2,
        "parallel_trials": 2,
        "max_failed_trials": 1,
        "goal": "",
        "early_stopping": False,
        "parameters": {},
        "seed": 0,
        "deadline_seconds": 60,
    }
    parameters = SearchParameters(RECIPE, **(arguments | changes))
    return tune_hyperparameters(dataset, parameters, Artifact(), Artifact(), Artifact())


@pytest.mark.parametrize(
    ("metadata", "changes", "says"),
    [
        ({}, {}, "checkout_dataset"),
        (
            {"chandlery.data_repo": "r", "chandlery.data_commit": "c", "chandlery.path": "/part"},
            {},
            "whole commits",
        ),
        ({"chandlery.data_repo": "r", "chandlery.data_commit": "c"}, {"goal": "high"}, "high"),
        ({"chandlery.data_repo": "r", "chandlery.data_commit": "c"}, {"goal": "nan"}, "nan"),
        (
            {"chandlery.data_repo": "r", "chandlery.data_commit": "c"},
            {"parameters": {"epochs": [1]}},
            r"\[1\]",
        ),
        (
            {"chandlery.data_repo": "r", "chandlery.data_commit": "c"},
            {"parameters": {"learning_rate": 1, "units": 2, "dropout": 0, "activation": "relu"}},
            "every parameter",
        ),
    ],
)
def test_what_it_refuses_creates_nothing(metadata, changes, says, home):
    with pytest.raises(UserError, match=says):
        call(Artifact(**metadata), **changes)
    assert not home.exists()


@pytest.mark.slow
def test_tune_hyperparameters(store, controller, tmp_path: Path):
    from kfp import dsl

    component = load_component("search", "tune_hyperparameters")
    rows = np.random.default_rng(0).integers(0, 16, (120, 64))
    table = np.column_stack([rows, np.arange(120) % 10])
    (tmp_path / "digits").mkdir()
    np.savetxt(tmp_path / "digits" / "part.csv", table, fmt="%d", delimiter=",", header="x", comments="")
    commit = data.commit(str(tmp_path / "digits"), "digits").commit

    @dsl.pipeline(name="tune-hyperparameters")
    def pipeline():
        dataset = dsl.importer(
            artifact_uri=str(tmp_path / "digits"),
            artifact_class=dsl.Dataset,
            metadata={"chandlery.data_repo": "digits", "chandlery.data_commit": commit},
        )
        component(
            dataset=dataset.output,
            recipe=RECIPE,
            algorithm="random",
            max_trials=2,
            parameters={"epochs": 1, "activation": "relu"},
        )

    task = run_pipeline(pipeline, tmp_path).task("tune-hyperparameters")
    folder = Path(task.made["trials"][0]["uri"]).parent
    best = task.outputs["best_parameters"]
    assert set(best) == {"epochs", "activation", "learning_rate", "units", "dropout"}
    assert (best["epochs"], best["activation"]) == (1, "relu")
    table = list(csv.DictReader(io.StringIO((folder / "trials").read_text())))
    assert [row["state"] for row in table] == ["Succeeded", "Succeeded"]
    assert max(float(row["accuracy"]) for row in table) == task.outputs["objective"]
    kept = yaml.safe_load((folder / "experiment").read_text())
    assert kept["metadata"]["name"] == task.outputs["experiment_name"]
    assert kept["status"]["trialsSucceeded"] == 2
    page = (folder / "report").read_text()
    assert page.count("<svg") >= 2
    assert kept["metadata"]["name"] in page
    for name in ("trials", "report", "experiment"):
        record = provenance.read(task.made[name][0]["metadata"])
        assert (record.data_commit, record.experiment) == (commit, kept["metadata"]["name"])
        assert record.trial.startswith(kept["metadata"]["name"])
