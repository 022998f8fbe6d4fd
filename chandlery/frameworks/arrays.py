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
