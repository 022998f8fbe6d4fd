"""A recipe in a package that imports by the package's own name: its copy needs no package."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from chandlery.recipe import load_recipe, load_snapshot, snapshot

RECIPE = """
{imports}
from chandlery.recipe import Column, Recipe

class Churn(Recipe):
    task, target, objective = "regression", "y", "mae"
    schema = (Column("x"), Column("y"))
    def load(self, root): return {{}}
    def featurize(self, rows): return rows["x"] * {scale}
    def build(self, parameters, features): return None
    def metrics(self, truth, outputs): return {{}}
    def answer(self, outputs): return {{}}
    def wrong(self, prediction, truth): return False
"""


@pytest.mark.parametrize(
    ("imports", "scale"),
    [
        ("from churn.features import SCALE", "SCALE"),
        ("from churn import features", "features.SCALE"),
        ("import churn.features", "churn.features.SCALE"),
        ("import churn.features as f", "f.SCALE"),
        ("import os, churn.deep.more as more", "more.SCALE"),
        ("from churn.deep.more import SCALE as S", "S"),
        ("from features import SCALE", "SCALE"),
        ("from .features import SCALE", "SCALE"),
    ],
)
@pytest.mark.parametrize("reference", ["churn.recipe:Churn", "{folder}/churn/recipe.py:Churn"])
def test_copy_of_a_recipe_does_not_need_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imports: str, scale: str, reference: str
) -> None:
    package = tmp_path / "churn"
    (package / "deep").mkdir(parents=True)
    for folder in (package, package / "deep"):
        (folder / "__init__.py").touch()
    (package / "features.py").write_text("SCALE = 3.0\n")
    (package / "deep" / "more.py").write_text("from churn.features import SCALE\n")
    (package / "recipe.py").write_text(RECIPE.format(imports=imports, scale=scale))
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = load_recipe(reference.format(folder=tmp_path))
    copied = snapshot(loaded, tmp_path / "copy" / "recipe")
    shutil.rmtree(package)
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("churn",) or loaded.digest in name
    ]:
        del sys.modules[name]
    found = load_snapshot(tmp_path / "copy" / "recipe", copied)
    assert found.digest == loaded.digest
    assert found.recipe.featurize({"x": np.array([2.0])}).tolist() == [6.0]  # type: ignore[union-attr]
