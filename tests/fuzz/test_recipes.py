"""Recipes whose methods return what they should not."""

# ruff: noqa: E501

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from chandlery.errors import ChandleryError
from chandlery.recipe import Column, Recipe, check_rows
from chandlery.training import classification
from chandlery.training.dataset import featurize, label_arrays, part_of, read_rows, split
from chandlery.training.fitting import evaluate

from .harness import JUNK, cases, plain

GOOD_ROWS = {
    "airport": np.array(["HAM", "LEJ"] * 20),
    "hour": np.arange(40),
    "wind": np.linspace(0, 1, 40),
    "late": np.array([0, 1] * 20),
}
ARRAYS = [
    np.zeros(0), np.zeros((40, 0)), np.zeros((40, 3), "float32"), np.full((40, 3), np.nan, "float32"), np.zeros((40, 2)), np.array(3.0),
    np.array(["a"] * 40), np.array([None] * 40, dtype=object), np.array([{}] * 40, dtype=object), np.arange(40), np.arange(40) * 1j, np.array([b"x"] * 40),
    np.array(["2020-01-01"] * 40, dtype="datetime64[D]"), np.zeros(40, dtype=[("a", "i4")]), np.array([True] * 40), np.full(40, np.inf), np.full(40, 2**62),
    np.full(40, 1e300), np.zeros((2, 2, 2, 2)), np.ma.masked_array(np.zeros(40), mask=True), np.full(40, -1), np.arange(40, dtype="uint64") + 2**63,
]  # fmt: skip
THINGS = [
    *ARRAYS,
    *JUNK,
    object(),
    {1: 2},
    {"accuracy": "x"},
    {"accuracy": None},
    {"accuracy": np.zeros(3)},
    {"accuracy": 1j},
    iter([1]),
    b"x",
    {1, 2},
    Exception,
    print,
]
THING = st.integers(0, len(THINGS) - 1).map(lambda at: THINGS[at])
ROWS = st.builds(
    lambda changes, drop: {**{k: v for k, v in GOOD_ROWS.items() if k != drop}, **changes},
    st.dictionaries(st.sampled_from(["airport", "hour", "wind", "late", "x", 3]), THING, max_size=2),
    st.sampled_from(["", "", "", "wind"]),
)


class Flights(Recipe):
    """Returns what it is told to."""

    task = "classification"
    schema = (
        Column("airport", "str", allowed=("HAM", "LEJ")),
        Column("hour", "int64"),
        Column("wind", "float64", nullable=True),
        Column("late", "int64"),
    )
    target = "late"
    classes = ("no", "yes")
    objective = "accuracy"
    returned: Any = None

    def load(self, root):
        return self.returned

    def featurize(self, rows):
        return self.returned

    def build(self, parameters, features):
        return self.returned

    def metrics(self, truth, outputs):
        return self.returned

    def answer(self, outputs):
        return self.returned

    def wrong(self, prediction, truth):
        return self.returned

    def labels(self, rows):
        return self.returned


def attempt(call) -> Any:
    try:
        return call()
    except ChandleryError as error:
        plain(str(error))
        return None


def test_load(tmp_path: Path):
    recipe = Flights()

    @cases(ROWS | THING, share=0.25)
    def case(returned):
        recipe.returned = returned
        rows = attempt(lambda: read_rows(recipe, tmp_path))
        if rows is not None:
            assert set(rows) == {"airport", "hour", "wind", "late"}
            assert len({len(column) for column in rows.values()}) == 1
            assert rows["hour"].dtype == np.int64
            assert rows["airport"].dtype.kind == "U"
            part_of(recipe, rows)
            attempt(lambda: split(recipe, rows))


def named(arrays):
    """Return the arrays of what may be one array, several by name, or None."""
    return list(arrays.values()) if isinstance(arrays, dict) else [] if arrays is None else [arrays]


def test_featurize_and_labels():
    recipe = Flights()

    @cases(THING, share=0.25)
    def case(returned):
        recipe.returned = returned
        features = attempt(lambda: featurize(recipe, GOOD_ROWS))
        for array in named(features):
            assert len(array) == 40
            assert array.dtype.kind in "biufU"
            assert array.dtype.kind != "f" or np.isfinite(array).all()
        labels = attempt(lambda: label_arrays(recipe, GOOD_ROWS))
        for array in named(labels):
            assert len(array) == 40
            attempt(lambda array=array: classification.class_indices(array, 2))


def test_metrics_and_outputs():
    recipe = Flights()
    named = st.dictionaries(st.sampled_from(["accuracy", "loss", 1, None, ""]), THING, max_size=3)

    @cases(THING | named, share=0.25)
    def case(returned):
        recipe.returned = returned
        figures = attempt(lambda: evaluate(recipe, GOOD_ROWS["late"], np.zeros((40, 2))))
        if figures is not None:
            assert all(isinstance(v, float) and isinstance(k, str) for k, v in figures.items())
        # What a Keras model gives is numbers, a row each.
        if isinstance(returned, np.ndarray) and returned.dtype.kind in "biuf" and returned.ndim:
            scores = attempt(lambda: classification.probabilities(returned, 2))
            assert scores is None or scores.shape == (len(returned), 2)


def test_requests_as_arrays():
    columns = Flights.inputs()

    @cases(st.dictionaries(st.sampled_from(["airport", "hour", "wind"]), THING, min_size=2), share=0.25)
    def case(request):
        attempt(lambda: check_rows(columns, request))
