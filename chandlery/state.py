"""What a recipe's `fit` learns, as arrays and JSON: checked, written and read. Nothing here runs code of a file."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chandlery.errors import ModelLoadError, RecipeError

State = dict[str, Any]

TREE, ARRAYS = "state.json", "arrays.npz"
_REFERENCE = "$array"  # in the tree, where an array stands
_KINDS = "biufUSM"  # of arrays that numpy writes without pickle
_HINT = "return a dict of arrays, numbers, texts, booleans, lists and dicts"


def checked(state: object, what: str) -> State:
    """Return a state as it will be read again: tuples as lists, numpy numbers as numbers.

    Args:
        state: what `fit` returned.
        what: names it in messages, such as `Churn.fit`.

    Raises:
        RecipeError: it holds something that is neither an array nor JSON; the message says where.
    """
    if not isinstance(state, dict):
        raise RecipeError(f"{what} returned {type(state).__name__}", _HINT)
    return {_key(name, what): _value(value, f"{what}: {name!r}") for name, value in state.items()}


def save(state: Mapping[str, Any], folder: Path) -> None:
    """Write a checked state to a new folder."""
    folder.mkdir(parents=True)
    tree, arrays = _flatten(state)
    np.savez(
        folder / ARRAYS, allow_pickle=False, **{f"a{index}": array for index, array in enumerate(arrays)}
    )
    (folder / TREE).write_text(json.dumps(tree, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load(folder: Path) -> State:
    """Read the state in a folder.

    Raises:
        ModelLoadError: the files are missing or damaged, or need pickle.
    """
    try:
        tree = json.loads((folder / TREE).read_text(encoding="utf-8"))
        with np.load(io.BytesIO((folder / ARRAYS).read_bytes()), allow_pickle=False) as archive:
            arrays = [archive[f"a{index}"] for index in range(len(archive.files))]
        state: State = _unflatten(tree, arrays)
    except (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile) as error:
        raise ModelLoadError(f"{folder}: damaged state: {error}", "train the model again") from error
    return state


def digest(state: Mapping[str, Any]) -> str:
    """Return the SHA-256 over the content of a checked state."""
    tree, arrays = _flatten(state)
    found = hashlib.sha256(json.dumps(tree, sort_keys=True).encode())
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _key(name: object, what: str) -> str:
    if not isinstance(name, str) or name == _REFERENCE:
        raise RecipeError(f"{what} has the key {name!r}", "use texts as keys")
    return name


def _value(value: object, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RecipeError(f"{where} is {value}", "JSON has no such number: use None, or an array")
        return value
    if isinstance(value, np.ndarray):
        return _array(value, where)
    if isinstance(value, Mapping):
        return {_key(name, where): _value(item, f"{where}[{name!r}]") for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise RecipeError(f"{where} is {type(value).__name__}, which cannot be saved", _HINT)


def _array(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat):
        return array.astype(str)
    if array.dtype.kind not in _KINDS:
        raise RecipeError(f"{where} is an array of {array.dtype}", "use numbers, booleans or texts")
    return array.copy()


def _flatten(state: Mapping[str, Any]) -> tuple[Any, list[np.ndarray]]:
    arrays: list[np.ndarray] = []

    def walk(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(value)
            return {_REFERENCE: len(arrays) - 1}
        if isinstance(value, Mapping):
            return {name: walk(value[name]) for name in sorted(value)}
        return [walk(item) for item in value] if isinstance(value, list) else value

    return walk(state), arrays


def _unflatten(tree: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(tree, dict):
        if tree.keys() == {_REFERENCE}:
            return arrays[tree[_REFERENCE]]
        return {name: _unflatten(value, arrays) for name, value in tree.items()}
    return [_unflatten(item, arrays) for item in tree] if isinstance(tree, list) else tree
