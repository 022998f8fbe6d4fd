"""The smallest model package that the registry takes: no model in it, a few kilobytes that differ as a test wants them to."""

from __future__ import annotations

import json
from pathlib import Path

from chandlery.model import Manifest
from chandlery.provenance import Provenance
from chandlery.recipe import source_digest

RECIPE = """
import numpy as np
from chandlery.recipe import Column, Parameter, Recipe


class Line(Recipe):
    task = "regression"
    schema = (Column("x"), Column("y"))
    target = "y"
    objective = "mae"
    search_space = (Parameter("lr", "double", minimum=0.001, maximum=0.1, log=True),)
    defaults = {"lr": 0.01}

    def load(self, root):
        return {"x": np.zeros(1), "y": np.zeros(1)}

    def featurize(self, rows):
        return rows["x"][:, None].astype("float32")

    def build(self, parameters, features):
        raise NotImplementedError

    def metrics(self, truth, outputs):
        return {"mae": 0.0}

    def answer(self, outputs):
        return {"y": outputs}

    def wrong(self, prediction, truth):
        return False
"""


def write_package(folder: Path, digest: str, weights: bytes, record: Provenance) -> None:
    """Write a model package to `folder`.

    Args:
        folder: where; made.
        digest: the model's digest, as its manifest tells it.
        weights: what stands for the weights.
        record: where the model comes from.
    """
    (folder / "recipe").mkdir(parents=True)
    (folder / "recipe" / "recipe.py").write_text(RECIPE)
    (folder / "saved_model" / "variables").mkdir(parents=True)
    (folder / "saved_model" / "variables" / "variables.index").write_bytes(weights[:1000])
    (folder / "model.keras").write_bytes(weights)
    (folder / "requirements.txt").write_text("numpy==2.0\n")
    manifest = Manifest(
        digest=digest,
        recipe="recipe.py:Line",
        recipe_digest=source_digest(folder / "recipe"),
        task="regression",
        parameters={"lr": 0.01, "units": 8},
        inputs=[{"name": "x", "dtype": "float64", "shape": [], "description": "where"}],
        classes=[],
        metrics={"mae": 0.25},
        provenance=record.metadata() | {"chandlery.seed": "7"},
    )
    (folder / "chandlery.json").write_text(json.dumps({"schema_version": 1, **manifest.__dict__}))
