"""Raw rows of a dataset through a recipe, checked and split: in memory, or in chunks that are read for each pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chandlery.arrays import concatenate, count, describe
from chandlery.errors import RecipeError, TrainingError
from chandlery.recipe import (
    Columns,
    Recipe,
    Refused,
    State,
    as_array,
    check_rows,
    featurized,
    guarded,
    part_of,
    take,
)

__all__ = ["Chunks", "Split", "featurize", "open_rows", "part_of", "read_rows", "size", "split"]


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


@dataclass(frozen=True)
class Chunks:
    """A dataset that is never in memory as a whole: each iteration calls the recipe's `load` again.

    Attributes:
        recipe: the recipe.
        folder: folder of raw data.
    """

    recipe: Recipe
    folder: Path

    def __iter__(self) -> Iterator[Columns]:
        """Yield the chunks that have rows, each held against the schema.

        Raises:
            RecipeError: `load` raised, or a chunk does not have the schema's form.
            TrainingError: there is no row in any chunk.
        """
        what = f"{type(self.recipe).__name__}.load"
        source = guarded(self.recipe, "load", self.folder)
        kinds: dict[str, np.dtype[Any]] = {}
        total = 0
        for index, chunk in enumerate(yielded(source, what)):
            if not isinstance(chunk, Mapping):
                raise RecipeError(
                    f"{what} yielded {type(chunk).__name__} as chunk {index}",
                    "yield dicts of arrays by column name",
                )
            rows = check_rows(self.recipe.schema, chunk, f"{what}, chunk {index}")
            for name, array in rows.items():
                if kinds.setdefault(name, array.dtype).kind != array.dtype.kind:
                    raise RecipeError(
                        f"{what}: {name!r} is {kinds[name]} in chunk 0 and {array.dtype} in chunk {index}",
                        "yield each column in one type",
                    )
            total += size(rows)
            if size(rows):
                yield rows
        if not total:
            raise TrainingError(f"the dataset in {self.folder} has no rows", "commit data first")


def yielded(source: Iterator[Any], what: str) -> Iterator[Any]:
    """Yield what a generator of the recipe yields; whatever it raises becomes a RecipeError."""
    try:
        yield from source
    except RecipeError:
        raise
    except Exception as error:
        raise RecipeError(
            f"{what} raised {type(error).__name__}: {error}", "correct the recipe and run again"
        ) from error


def open_rows(recipe: Recipe, folder: Path) -> Columns | Chunks:
    """Load the dataset in `folder`: all rows, or its chunks where the recipe's `load` is a generator.

    Value ranges are the business of `validate_dataset`.

    Raises:
        RecipeError: the folder is missing, `load` raised, or what it returned does not have the schema's form.
        TrainingError: there is no row.
    """
    if not folder.is_dir():
        raise RecipeError(f"dataset {folder} is not a folder", "give the folder that checkout_dataset wrote")
    loaded = guarded(recipe, "load", folder)
    if isinstance(loaded, Iterator):
        close = getattr(loaded, "close", None)
        if close is not None:
            close()
        return Chunks(recipe, folder)
    if not isinstance(loaded, dict):
        raise RecipeError(
            f"{type(recipe).__name__}.load returned {type(loaded).__name__}",
            "return a dict of arrays by column name, or yield such dicts",
        )
    rows = check_rows(recipe.schema, loaded, f"{type(recipe).__name__}.load")
    if size(rows) == 0:
        raise TrainingError(f"the dataset in {folder} has no rows", "commit data first")
    return rows


def read_rows(recipe: Recipe, folder: Path) -> Columns:
    """Load the whole dataset in `folder` into memory; see `open_rows`."""
    rows = open_rows(recipe, folder)
    if isinstance(rows, Chunks):
        whole: Columns = concatenate(list(rows))
        return whole
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
        check_part(name, size(part), size(rows))
    return found


def check_part(name: str, rows: int, total: int) -> None:
    """Refuse a part of a dataset that came out empty.

    Raises:
        TrainingError: it has no rows.
    """
    if rows == 0:
        raise TrainingError(
            f"the dataset has {total} rows, none of them in the {name} part",
            "use more rows: the parts take 70, 15 and 15 percent",
        )


def featurize(recipe: Recipe, rows: Columns, state: State | None = None) -> Any:
    """Return the features of rows as the model sees them: the recipe's own function, checked.

    Args:
        recipe: the recipe.
        rows: n raw rows.
        state: what its `fit` learned.

    Returns:
        one array, or a dict of arrays by name, n rows each; texts as arrays of numpy's text type.

    Raises:
        RecipeError: `featurize` raised, or returned something else than arrays with a row each, or numbers that are
            not finite.
    """
    inputs = {column.name: rows[column.name] for column in recipe.inputs()}
    what = f"{type(recipe).__name__}.featurize"
    try:
        found = featurized(recipe, inputs, state or {})
    except Refused as refused:
        raise RecipeError(
            f"{what} refused rows of the data: {refused.message}",
            "leave such rows out in load(), or answer them",
        ) from refused
    except RecipeError:
        raise
    except Exception as error:
        raise RecipeError(
            f"{what} raised {type(error).__name__}: {error}", "correct the recipe and run again"
        ) from error
    if isinstance(found, Mapping):
        if not found:
            raise RecipeError(f"{what} returned no array", "return an array, or a dict of arrays by name")
        return {str(n): _checked(array, f"{what}[{n!r}]", size(rows), 1) for n, array in found.items()}
    return _checked(found, what, size(rows), 2)


def _checked(given: object, what: str, rows: int, least: int) -> np.ndarray:
    array = as_array(given, f"what {what} returned")
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array.flat):
        array = array.astype(str)
    if array.dtype.kind == "U":
        least = 1
    if array.dtype.kind not in "biufU" or array.ndim < least or len(array) != rows:
        raise RecipeError(
            f"{what} returned {describe(array)} for {rows} rows",
            "return numbers of shape (rows, ...) or texts of shape (rows,)",
        )
    if array[:1].size == 0 and array.ndim > 1:
        raise RecipeError(
            f"{what} returned {describe(array)}: no feature at all", "return at least one feature"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RecipeError(f"{what} returned values that are not finite", "fill or drop missing values there")
    return array


def label_arrays(recipe: Recipe, rows: Columns) -> Any:
    """Return the labels of rows as training takes them, checked.

    Returns:
        one array of numbers, or a dict of them by name, n rows each.

    Raises:
        RecipeError: `labels` raised.
        TrainingError: it returned something else.
    """
    what = f"{type(recipe).__name__}.labels"
    found = guarded(recipe, "labels", rows)
    if isinstance(found, Mapping) and found:
        return {str(n): _label(array, f"{what}[{n!r}]", size(rows)) for n, array in found.items()}
    return _label(found, what, size(rows))


def _label(given: object, what: str, rows: int) -> np.ndarray:
    labels = as_array(given, f"what {what} returned")
    if labels.ndim == 0 or len(labels) != rows or labels.dtype.kind not in "fiub":
        raise TrainingError(
            f"{what} returned {labels.dtype}{list(labels.shape)} for {rows} rows",
            "return a number (or an array of numbers) for each row",
        )
    return labels


def size(rows: Columns) -> int:
    """Return the number of rows."""
    return count(rows)
