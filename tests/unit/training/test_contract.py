"""`chandlery check` and the steps tell what breaks a recipe's contract before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from chandlery.cli.main import app
from chandlery.errors import RecipeError
from chandlery.recipe import Column, Columns, Recipe, load_recipe
from chandlery.training.contract import check_recipe, example_rows, require

LINE: Columns = {"x": np.linspace(0, 1, 200), "y": np.linspace(0, 2, 200)}


class Line(Recipe):
    """Keeps the contract."""

    task = "regression"
    schema = (Column("x"), Column("y"))
    target = "y"
    objective = "mae"

    def load(self, root: Path) -> Columns:
        return LINE

    def fit(self, rows: Columns) -> dict[str, Any]:
        return {"mean": float(rows["x"].mean())}

    def featurize(self, rows: Columns, state: dict[str, Any]) -> np.ndarray:
        return (rows["x"] - state["mean"])[:, None].astype("float32")

    def build(self, parameters: Any, features: Any) -> Any:
        import keras

        model = keras.Sequential([keras.Input(features.shape[1:]), keras.layers.Dense(1)])
        model.compile("adam", "mse", jit_compile=False)
        return model

    def metrics(self, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        return {"mae": float(np.abs(outputs[:, 0] - truth).mean())}

    def answer(self, outputs: np.ndarray) -> Columns:
        return {"y": outputs[:, 0]}

    def wrong(self, prediction: float, truth: float) -> bool:
        return abs(prediction - truth) > 1


def broken(**methods: Any) -> Recipe:
    return type("Broken", (Line,), methods)()  # type: ignore[no-any-return]


def _grow(rows: Columns) -> np.ndarray:
    rows["x"] += 1
    return rows["x"][:, None].astype("float32")


def _uncompiled(self: Recipe, parameters: Any, features: Any) -> Any:
    import keras

    return keras.Sequential([keras.Input(features.shape[1:]), keras.layers.Dense(1)])


CALLS = iter(range(1000))


def test_a_sound_recipe_passes_and_each_method_was_called() -> None:
    found = check_recipe(Line(), LINE)
    assert found.breaches == []
    assert found.skipped() == []
    assert found.passed["featurize"] == "float32[48, 1]"


@pytest.mark.parametrize(
    ("methods", "method", "words"),
    [
        ({"fit": lambda s, rows: {"mean": {1}}}, "fit", "'mean' is set, which cannot be saved"),
        ({"fit": lambda s, rows: {"mean": next(CALLS)}}, "fit", "return different states"),
        ({"fit": lambda s, rows: 1 / 0}, "fit", "Broken.fit raised ZeroDivisionError"),
        (
            {"featurize": lambda s, r, st: (r["x"] - r["x"].mean())[:, None].astype("float32")},
            "featurize",
            "depend on the rows beside it",
        ),
        (
            {"featurize": lambda s, r, st: np.zeros((len(r["x"]), len(r["x"])), "float32")},
            "featurize",
            "a row alone gives float32[1, 1], the same row among others float32[1, 48]",
        ),
        (
            {"featurize": lambda s, r, st: np.zeros((3, 1), "float32")},
            "featurize",
            "float32[3, 1] for 48 rows",
        ),
        ({"featurize": lambda s, r, st: np.zeros((len(r["x"]), 0))}, "featurize", "no feature at all"),
        ({"featurize": lambda s, r, st: {}}, "featurize", "returned no array"),
        (
            {"featurize": lambda s, r, st: {"a": r["x"], "b": r["x"][:1]}},
            "featurize",
            "featurize['b'] returned",
        ),
        ({"featurize": lambda s, r, st: r["x"][:, None] * np.nan}, "featurize", "not finite"),
        ({"featurize": lambda s, r, st: _grow(r)}, "featurize", "changed column 'x' in place"),
        ({"labels": lambda s, r: r["y"].astype(str)}, "labels", "labels returned"),
        ({"build": lambda s, p, f: "model"}, "build", "build returned str"),
        ({"build": _uncompiled}, "build", "did not return a compiled Keras model"),
        ({"labels": lambda s, r: np.zeros((len(r["y"]), 5, 5))}, "model", ""),
        ({"metrics": lambda s, t, o: {"mse": 1.0}}, "metrics", "does not return its objective 'mae'"),
        ({"metrics": lambda s, t, o: {"mae": "low"}}, "metrics", "metrics returned {'mae': 'low'}"),
        ({"answer": lambda s, o: {"y": o[:, 0].tolist()}}, "answer", "'y' is list for 48 rows"),
        ({"answer": lambda s, o: o[:, 0]}, "answer", "answer returned float32[48]"),
        ({"answer": lambda s, o: {"y": o[:3, 0]}}, "answer", "'y' is float32[3] for 48 rows"),
        ({"wrong": lambda s, p, t: None}, "wrong", "wrong returned NoneType"),
        ({"wrong": lambda s, p, t: p["y"] > t}, "wrong", "Broken.wrong raised TypeError"),
    ],
)
def test_each_breach_is_told_by_its_method(methods: dict[str, Any], method: str, words: str) -> None:
    recipe = broken(**methods)
    rows = {name: array.copy() for name, array in LINE.items()}
    found = check_recipe(recipe, rows)
    assert [breach.method for breach in found.breaches][:1] == [method]
    assert words in found.breaches[0].problem
    with pytest.raises(RecipeError, match="Broken"):
        require(recipe, rows)


@pytest.mark.parametrize(
    "reference", ["examples/digits/recipe.py:Digits", "examples/departures/recipe.py:Departures"]
)
def test_examples_keep_the_contract_on_made_up_rows(reference: str) -> None:
    found = check_recipe(load_recipe(reference).recipe, None)
    assert (found.made_up, found.breaches) == (True, [])


def test_made_up_rows_fit_the_schema() -> None:
    class Wide(Line):
        schema = (
            Column("i", "int64", (2,), minimum=-3, maximum=4),
            Column("b", "bool"),
            Column("t", "str"),
            Column("c", "str", allowed=("u", "v")),
            Column("y", "float32", maximum=-5.0),
        )

    rows = example_rows(Wide(), 30)
    assert {name: array.shape for name, array in rows.items()} == {
        "i": (30, 2), "b": (30,), "t": (30,), "c": (30,), "y": (30,)
    }  # fmt: skip
    assert rows["i"].min() >= -3
    assert rows["i"].max() <= 4
    assert rows["y"].max() <= -5
    assert set(rows["c"]) == {"u", "v"}


def test_command_tells_the_breach_and_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "r.py").write_text(
        Path(__file__).read_text().split("def broken")[0]
        + "\nclass Bad(Line):\n    def metrics(self, truth, outputs):\n        return {}\n"
    )
    good = CliRunner().invoke(app, ["check", f"{tmp_path}/r.py:Line", str(tmp_path)])
    assert good.exit_code == 0, good.output
    assert "Line keeps the contract on 48 rows of the data" in good.output
    bad = CliRunner().invoke(app, ["check", f"{tmp_path}/r.py:Bad"])
    assert bad.exit_code == 2
    assert "metrics: Bad.metrics does not return its objective 'mae'" in bad.output
    assert "Traceback" not in bad.output
