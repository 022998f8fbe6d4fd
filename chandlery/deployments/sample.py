"""A request that a deployment answers, made from nothing but the recipe's schema."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chandlery.recipe import Column, Columns, load_snapshot


def sample_request(package: Path) -> Columns:
    """Return one plausible row for the model package in `package`.

    Raises:
        ModelLoadError: the folder is not a model package.
        RecipeError: its recipe cannot be loaded.
    """
    from chandlery.model import read_manifest

    recipe = load_snapshot(package / "recipe", read_manifest(package).recipe).recipe
    return {column.name: sample_value(column) for column in recipe.inputs()}


def sample_value(column: Column) -> np.ndarray:
    """Return one row of a column: its first allowed value, or the middle of its range; shape (1, *column.shape)."""
    if column.allowed:
        value: object = column.allowed[0]
    elif column.dtype == "str":
        value = ""
    elif column.minimum is not None and column.maximum is not None:
        value = (column.minimum + column.maximum) / 2
    else:
        value = column.minimum or column.maximum or 0
    return np.full((1, *column.shape), value).astype(column.dtype)
