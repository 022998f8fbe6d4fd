"""The gate's bad inputs, in this process: what the step raises and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chandlery.errors import ChandleryError, NotFoundError, RecipeError, UserError, ValidationFailedError
from chandlery.steps.data.resolve_inputs import resolve_inputs
from chandlery.steps.data.validate_dataset import validate_dataset

RECIPE = """
import numpy as np
from chandlery.recipe import Column, Recipe

class Base(Recipe):
    task, target, objective = "regression", "y", "mae"
    schema = (Column("x", "float64"), Column("y", "float64"))
    def load(self, root):
        y = np.loadtxt(root / "y.txt", ndmin=1)
        return {"x": y, "y": y}
    def featurize(self, rows): return rows["x"][:, None]
    def build(self, parameters, features): raise NotImplementedError
    def metrics(self, truth, outputs): return {}
    def answer(self, outputs): return {}
    def wrong(self, prediction, truth): return False

class Raises(Base):
    def load(self, root): raise KeyError("column\\nwith two lines")

class Text(Base):
    def load(self, root): return {"x": np.zeros(1), "y": np.array(["a"])}

class Empty(Base):
    def load(self, root): return {"x": np.zeros(0), "y": np.array([])}
"""


@dataclass
class Artifact:
    """What kfp hands to a component."""

    path: str
    metadata: dict[str, object] = field(default_factory=dict)


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "recipe.py").write_text(RECIPE)
    return str(tmp_path / "made" / "recipe.py")


def test_good_data(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "y.txt").write_text("1\n2\n")
    assert validate_dataset(Artifact(str(tmp_path)), f"{recipe}:Base", 1, Artifact(str(tmp_path / "r"))) == 2


@pytest.mark.parametrize(
    ("name", "kind", "text", "reported"),
    [
        ("Raises", RecipeError, "Raises.load raised KeyError", True),
        ("Base", RecipeError, "Base.load raised FileNotFoundError", True),
        ("Text", ValidationFailedError, "y: is float64 (str)", True),
        ("Empty", ValidationFailedError, "has at least 1 rows (no row)", True),
        ("Missing", RecipeError, "no Recipe class named 'Missing'", False),
    ],
)
def test_bad_recipes_and_data(
    recipe: str, tmp_path: Path, name: str, kind: type[ChandleryError], text: str, reported: bool
) -> None:
    report = Artifact(str(tmp_path / "report"))
    with pytest.raises(kind) as caught:
        validate_dataset(Artifact(str(tmp_path)), f"{recipe}:{name}", 1, report)
    assert text in caught.value.message
    assert len(caught.value.hint.splitlines()) == 1
    assert Path(report.path).exists() == reported


def test_a_minimum_below_one_is_refused(recipe: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="minimum_rows is 0"):
        validate_dataset(Artifact(str(tmp_path)), f"{recipe}:Base", 0, Artifact(str(tmp_path / "r")))


def test_a_missing_repo_is_named() -> None:
    with pytest.raises(NotFoundError, match="no repo 'digits'"):
        resolve_inputs("digits", "master", "", 1)
