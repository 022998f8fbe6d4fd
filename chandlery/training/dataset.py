"""Raw rows of a dataset through a recipe, checked and split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chandlery.errors import RecipeError, TrainingError
from chandlery.recipe import Columns, Recipe, as_array, check_rows, guarded, split_rows, take


@dataclass(frozen=True)
class Split:
    """The three parts of a dataset.

    Attributes:
        train: rows to fit on.
        validation: rows to choose hyperparameters and the epoch by.
        test: rows for the figures that are reported and compared, seen by nothing before.
    """

    train: Columns
    validation: Columns
    test: Columns


def read_rows(recipe: Recipe, folder: Path) -> Columns:
    """Load the dataset in `folder` and hold it against the recipe's schema: names, types, shapes, lengths.

    Value ranges are the business of `validate_dataset`.

    Raises:
        RecipeError: the folder is missing, `load` raised, or what it returned does not have the schema's form.
        TrainingError: there is no row.
    """
    if not folder.is_dir():
        raise RecipeError(f"dataset {folder} is not a folder", "give the folder that checkout_dataset wrote")
    loaded = guarded(recipe, "load", folder)
    if not isinstance(loaded, dict):
        raise RecipeError(
            f"{type(recipe).__name__}.load returned {type(loaded).__name__}",
            "return a dict of arrays by column name",
        )
    rows = check_rows(recipe.schema, loaded, f"{type(recipe).__name__}.load")
    if size(rows) == 0:
        raise TrainingError(f"the dataset in {folder} has no rows", "commit data first")
    return rows


def split(recipe: Recipe, rows: Columns) -> Split:
    """Split rows by the hash of their inputs; see `chandlery.recipe.split_rows`.

    The target takes no part: a row whose label is corrected in a later commit stays in its part, and equal
    inputs are never in two parts.

    Raises:
        TrainingError: a part came out empty.
    """
    parts = part_of(recipe, rows)
    found = Split(*(take(rows, parts == name) for name in ("train", "validation", "test")))
    for name, part in vars(found).items():
        if size(part) == 0:
            raise TrainingError(
                f"the dataset has {size(rows)} rows, none of them in the {name} part",
                "use more rows: the parts take 70, 15 and 15 percent",
            )
    return found


def part_of(recipe: Recipe, rows: Columns) -> np.ndarray:
    """Return the part of each row, n of `train`, `validation` or `test`, from its inputs alone."""
    return split_rows({column.name: rows[column.name] for column in recipe.inputs()})


def featurize(recipe: Recipe, rows: Columns) -> np.ndarray:
    """Return the features of rows as the model sees them: the recipe's own function, checked.

    Raises:
        RecipeError: `featurize` raised, or returned something else than a finite float array with a row each.
    """
    inputs = {column.name: rows[column.name] for column in recipe.inputs()}
    what = f"{type(recipe).__name__}.featurize returned"
    features = as_array(
        guarded(recipe, "featurize", inputs), f"what {type(recipe).__name__}.featurize returned"
    )
    if features.dtype != np.float32 or features.ndim < 2 or len(features) != size(rows):
        raise RecipeError(
            f"{what} {features.dtype}{list(features.shape)} for {size(rows)} rows",
            "return float32 of shape (rows, ...)",
        )
    if not np.isfinite(features).all():
        raise RecipeError(f"{what} values that are not finite", "fill or drop missing values there")
    return features


def size(rows: Columns) -> int:
    """Return the number of rows."""
    return len(next(iter(rows.values()))) if rows else 0
