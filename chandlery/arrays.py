"""One array, or several by name, with the same number of rows: what features, labels and outputs of a model are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Arrays = np.ndarray | dict[str, np.ndarray]


def count(arrays: Mapping[str, np.ndarray] | np.ndarray) -> int:
    """Return the number of rows; 0 for no array."""
    if isinstance(arrays, Mapping):
        return len(next(iter(arrays.values()))) if arrays else 0
    return len(arrays)


def pick(arrays: Any, which: Any) -> Any:
    """Return the rows selected by a boolean mask, by indices or by a slice, in the form of `arrays`."""
    if isinstance(arrays, Mapping):
        return {name: array[which] for name, array in arrays.items()}
    return arrays[which]


def padded(arrays: Any, rows: int) -> Any:
    """Return `arrays` with rows of zeros behind, so that there are `rows`; as they are where there are as many."""
    if isinstance(arrays, Mapping):
        return {name: padded(array, rows) for name, array in arrays.items()}
    if len(arrays) == rows:
        return arrays
    longer = np.zeros((rows, *arrays.shape[1:]), arrays.dtype)
    longer[: len(arrays)] = arrays
    return longer


def concatenate(parts: Sequence[Any]) -> Any:
    """Return the rows of several parts of one form, one after the other."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], Mapping):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)


def describe(arrays: Any) -> str:
    """Return type and shape of each array in one line, for messages."""
    if isinstance(arrays, Mapping):
        return ", ".join(f"{name}: {describe(array)}" for name, array in arrays.items()) or "nothing"
    if isinstance(arrays, np.ndarray):
        kind = "str" if arrays.dtype.kind == "U" else str(arrays.dtype)
        return f"{kind}{list(arrays.shape)}"
    return type(arrays).__name__
