"""A model package without a model: what the registry needs to register one, a few kilobytes that differ by a digest."""

from __future__ import annotations

import json
from pathlib import Path

from chandlery import provenance
from chandlery.model import Manifest
from chandlery.recipe import source_digest
from chandlery.registry.submission import About, Submission, submission

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


def make_package(folder: Path, digest: str) -> None:
    """Write a model package to `folder`."""
    (folder / "recipe").mkdir(parents=True)
    (folder / "recipe" / "recipe.py").write_text(RECIPE)
    (folder / "saved_model" / "variables").mkdir(parents=True)
    (folder / "saved_model" / "variables" / "variables.index").write_bytes(digest.encode() * 20)
    (folder / "model.keras").write_bytes(digest.encode() * 2000)
    (folder / "requirements.txt").write_text("numpy==2.0\n")
    record = provenance.Provenance(data_repo="lines", data_commit=digest[:32], recipe="recipe.py:Line")
    manifest = Manifest(
        digest=digest,
        recipe="recipe.py:Line",
        recipe_digest=source_digest(folder / "recipe"),
        task="regression",
        parameters={"lr": 0.01},
        inputs=[{"name": "x", "dtype": "float64", "shape": [], "description": "where"}],
        classes=[],
        metrics={"mae": 0.25},
        provenance=record.metadata() | {"chandlery.seed": "7"},
    )
    (folder / "chandlery.json").write_text(json.dumps({"schema_version": 1, **manifest.__dict__}))


def submission_of(folder: Path, model: str, digest: str) -> Submission:
    """Return what `register_model` would submit of the package in `folder`."""
    page = folder.parent / f"{folder.name}.html"
    page.write_text("<p>evaluation</p>")
    return submission(
        name=model,
        package=folder,
        record=provenance.current().with_(model_digest=digest),
        metrics={"mae": 0.3},
        experiment={"evaluation.html": page},
        about=About("Draws a line.", "geometry", "Interpolation.", "Not beyond x = 10."),
    )
