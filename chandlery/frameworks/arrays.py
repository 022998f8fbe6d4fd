"""What goes into a model and comes out of it, and the tables that libraries make of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from chandlery.errors import TrainingError

# One array of n rows, or named arrays of n rows each.
Features = np.ndarray | dict[str, np.ndarray]
Labels = np.ndarray | dict[str, np.ndarray]
Outputs = np.ndarray | dict[str, np.ndarray]

# Two ways to compute the same float32 outputs agree when they differ by no more, as `difference` measures it.
TOLERANCE = 1e-5


def difference(ours: Outputs, theirs: Outputs) -> float:
    """Return how far two ways to compute the same outputs are apart.

    For each row the largest absolute difference, divided by the largest absolute value of that row of `theirs`; where
    a row is smaller than the root mean square of all rows it is divided by that, for a sum that ends near zero has no
    digits to compare. The largest of these, over all rows and outputs. 0 is bit for bit but for the sign of zero.

    Args:
        ours: outputs (n, ...), n >= 1, or several by name.
        theirs: the same of the other way.

    Returns:
        the relative difference; infinite where one has a number and the other none, or whole numbers or texts differ.
    """
    if isinstance(theirs, Mapping) or isinstance(ours, Mapping):
        if not isinstance(theirs, Mapping) or not isinstance(ours, Mapping) or set(ours) != set(theirs):
            return math.inf
        return max((difference(ours[name], theirs[name]) for name in theirs), default=0.0)
    if ours.shape != theirs.shape:
        return math.inf
    if theirs.dtype.kind != "f" or ours.dtype.kind != "f":
        return 0.0 if np.array_equal(ours, theirs) else math.inf
    a, b = ours.reshape(len(ours), -1).astype("float64"), theirs.reshape(len(theirs), -1).astype("float64")
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.all(np.isfinite(a[finite])):
        return math.inf
    a, b = np.where(finite, a, 0.0), np.where(finite, b, 0.0)
    if not b.size:
        return 0.0
    scale = np.maximum(np.abs(b).max(axis=1), math.sqrt(float(np.mean(b * b))))
    away = np.abs(a - b).max(axis=1)
    return float(np.max(away / np.where(scale > 0, scale, 1.0)))


def table(labels: Labels) -> tuple[np.ndarray, list[str]]:
    """Return labels as an array (n,) or (n, k), and the targets' names when they came as named arrays.

    Raises:
        TrainingError: the targets are not numbers, one a row.
    """
    if not isinstance(labels, Mapping):
        array = np.asarray(labels)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim not in (1, 2):
            raise TrainingError(
                f"labels have shape {list(array.shape)}", "return one label a row, or a table of them (n, k)"
            )
        return array, []
    columns = {name: np.asarray(column) for name, column in labels.items()}
    for name, column in columns.items():
        if column.ndim != 1 or column.dtype.kind not in "biuf":
            raise TrainingError(
                f"labels of {name!r} are {column.dtype}{list(column.shape)}",
                "let labels return one number a row for each target",
            )
    return np.column_stack(list(columns.values())), list(columns)


def flat(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return named arrays as columns (n,): an array of more places a row becomes `name_0`, `name_1`, ...

    Raises:
        TrainingError: two columns have one name.
    """
    columns: dict[str, np.ndarray] = {}
    for name, value in features.items():
        array = np.asarray(value)
        if array.ndim == 1:
            places = {name: array}
        else:
            wide = array.reshape(len(array), math.prod(array.shape[1:]))
            places = {f"{name}_{place}": wide[:, place] for place in range(wide.shape[1])}
        twice = next((place for place in places if place in columns), "")
        if twice:
            raise TrainingError(
                f"features have two columns {twice!r}, one of them a place of an array",
                "give one of them another name",
            )
        columns |= places
    return columns
