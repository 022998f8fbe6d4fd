"""Slices of the test rows, also where a metric is not defined, and figures that JSON can hold."""

import json
from pathlib import Path

import numpy as np
from kfp import dsl

from chandlery.recipe import Columns, load_recipe
from chandlery.steps.artifacts import write_json
from chandlery.training.evaluation import slices
from chandlery.training.outcomes import outcomes_of
from chandlery.training.statistics import bootstrap

Digits = type(load_recipe("examples/digits/recipe.py:Digits").recipe)
LABELS = np.arange(100) % 10
OUTPUTS = np.eye(10)[np.where(LABELS == 4, 9, LABELS)]


class Ranked(Digits):  # type: ignore[valid-type, misc]
    """Its metric raises on rows of one class, as ranking metrics do."""

    slices = ("label", "depth")

    def metrics(self, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        if len(np.unique(truth)) == 1:
            raise ValueError("only one class")
        return {"accuracy": float(np.mean(outputs.argmax(axis=1) == truth))}


def rows() -> Columns:
    return {"label": LABELS, "depth": np.linspace(0, 1, 100)}


def test_values_and_quarters() -> None:
    class Plain(Digits):  # type: ignore[valid-type, misc]
        slices = ("label", "depth")

    found = list(slices(Plain(), outcomes_of(Plain(), rows(), OUTPUTS)))
    assert [(s.value, s.rows, s.metrics["accuracy"]) for s in found[:10]] == [
        (str(digit), 10, 0.0 if digit == 4 else 1.0) for digit in range(10)
    ]
    assert [(s.column, s.rows) for s in found[10:]] == [("depth", 25)] * 4


def test_many_values_are_pooled() -> None:
    class Many(Digits):  # type: ignore[valid-type, misc]
        slices = ("port",)

    ports = np.array([f"port-{index % 40}" for index in range(100)])
    found = list(slices(Many(), outcomes_of(Many(), {"label": LABELS, "port": ports}, OUTPUTS)))
    assert len(found) == 25
    assert found[-1].value == "others"
    assert sum(s.rows for s in found) == 100


def test_an_undefined_metric_leaves_its_slice_empty() -> None:
    found = list(slices(Ranked(), outcomes_of(Ranked(), rows(), OUTPUTS)))
    assert [s.metrics for s in found[:10]] == [{}] * 10
    assert all(s.metrics for s in found[10:])


def test_an_undefined_resample_is_left_out() -> None:
    from chandlery.training.fitting import evaluate

    truth, outputs = LABELS[:3], OUTPUTS[:3]  # a resample of three rows often has one class only
    found = bootstrap(lambda c: evaluate(Ranked(), truth[c], outputs[c]), 3, 200, 0.9, seed=1)
    assert found["accuracy"].low == 1.0


def test_what_json_does_not_know_is_null(tmp_path: Path) -> None:
    artifact = dsl.Metrics(name="m", uri=str(tmp_path / "m"))
    write_json(artifact, {"a": [float("nan"), 1.0], "b": {"c": float("inf")}})
    assert json.loads((tmp_path / "m").read_text()) == {"a": [None, 1.0], "b": {"c": None}}
