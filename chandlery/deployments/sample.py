"""A request that a deployment answers: the example of the model package."""

from __future__ import annotations

from pathlib import Path

from chandlery.example import read_example
from chandlery.recipe import Columns, load_snapshot


def sample_request(package: Path) -> Columns:
    """Return one row for the model package in `package`.

    Raises:
        ModelLoadError: the folder is not a model package.
        RecipeError: its recipe cannot be loaded.
    """
    from chandlery.model import read_manifest

    recipe = load_snapshot(package / "recipe", read_manifest(package).recipe).recipe
    return read_example(package, recipe.inputs())
