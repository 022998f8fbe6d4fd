"""`chandlery check` and the steps tell what breaks a recipe's contract before anything is trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from chandlery.cli.check import check
from chandlery.cli.main import app
from chandlery.errors import RecipeError, UserError
from chandlery.recipe import TASKS, Column, Columns, Recipe, load_recipe, part_of
from chandlery.training.contract import check_recipe, example_rows, require, training_rows
from tests.loading import ROOT

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


def test_recipe_of_the_docs_keeps_the_contract_and_trains(tmp_path: Path) -> None:
    from chandlery.training.dataset import open_rows
    from chandlery.training.fitting import fit

    text = (ROOT / "docs" / "recipes.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "ice.py").write_text(source)
    (tmp_path / "data").mkdir()
    lines = ["days,degrees,lake,thickness"]
    lines += [f"{d % 60},{'' if d % 7 == 0 else -(d % 11)},{'ABC'[d % 3]},{(d % 60) / 2}" for d in range(400)]
    (tmp_path / "data" / "ice.csv").write_text("\n".join(lines) + "\n")
    loaded = load_recipe(f"{tmp_path}/ice.py:Ice")
    rows = open_rows(loaded.recipe, tmp_path / "data")
    assert check_recipe(loaded.recipe, training_rows(loaded.recipe, rows)).breaches == []
    assert fit(loaded, rows, {"epochs": 60}, seed=1).objective < 4  # the mean alone is off by 7.5


def test_docs_name_every_attribute_and_method() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text()
    public = {name for name in {**vars(Recipe), **Recipe.__annotations__} if not name.startswith("_")}
    assert public >= {"fit", "files", "slices", "metrics"}
    assert [name for name in sorted(public) if not re.search(rf"`{name}[`(]", text)] == []
    for kind in sorted(TASKS):
        assert f"`{kind}`" in text


def test_no_rows_to_train_on_are_told(tmp_path: Path) -> None:
    tried = np.linspace(0, 1, 50)
    unseen = next(float(x) for x in tried if part_of(Line(), {"x": np.array([x])})[0] != "train")
    (tmp_path / "r.py").write_text(
        Path(__file__).read_text().split("def broken")[0]
        + "\nclass One(Line):\n    def load(self, root):\n"
        + f"        return {{'x': np.array([{unseen!r}]), 'y': np.array([0.0])}}\n"
    )
    with pytest.raises(UserError, match=r"no row in .* is in the training part"):
        check(f"{tmp_path}/r.py:One", tmp_path, as_json=False)
    one = load_recipe(f"{tmp_path}/r.py:One").recipe
    require(one, one.load(tmp_path))  # nothing to check; training tells it


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


def test_made_up_rows_have_gaps_where_they_may() -> None:
    class Gaps(Line):
        schema = (
            Column("x", nullable=True),
            Column("i", "int64", nullable=True),
            Column("t", "str", nullable=True),
            Column("y"),
        )

    rows = example_rows(Gaps(), 48)
    assert [int(np.isnan(rows[name]).sum()) for name in ("x", "i", "y")] == [3, 3, 0]
    assert (rows["t"] == "").sum() == 3
    assert [breach.method for breach in check_recipe(Gaps(), None, with_model=False).breaches] == ["fit"]


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
