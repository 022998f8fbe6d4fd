from collections.abc import Callable
from pathlib import Path

import pytest

from chandlery import addresses

RECIPE = """
from pathlib import Path
import numpy as np
from chandlery.recipe import Column, Columns, Parameter, Recipe

class TabularNet(Recipe):
    task = "{task}"
    schema = (Column("x"), Column("y"))
    target = "y"
    classes = ()
    objective = "{objective}"
    search_space = {space}
    def load(self, root): return {{}}
    def featurize(self, rows): return rows["x"]
    def build(self, parameters, features): ...
    def metrics(self, truth, outputs): return {{}}
    def answer(self, outputs): return {{}}
    def wrong(self, prediction, truth): return False
"""

SPACE = (
    '(Parameter("rate", "double", minimum=0.001, maximum=0.1, log=True), Parameter("units", "int", minimum=8, maximum=64),'
    ' Parameter("size", "discrete", values=(16, 32)), Parameter("kind", "categorical", values=("a", "b")))'
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in [*addresses.VARIABLES.values(), "CHANDLERY_RUN_ID", "CHANDLERY_TASK"]:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def make_recipe(tmp_path: Path) -> Callable[..., str]:
    """Returns a function that writes a recipe with a search space and returns its reference."""

    def make(space: str = SPACE, objective: str = "accuracy", task: str = "classification") -> str:
        folder = tmp_path / "recipes"
        folder.mkdir(exist_ok=True)
        path = folder / "recipe.py"
        path.write_text(RECIPE.format(space=space, objective=objective, task=task))
        return f"{path}:TabularNet"

    return make
