"""The example of a model package: one real row that the model answers, and a stand-in made from the schema.

It is a file of its own, `example.json`, of the form `{column: [value]}`. The printed `curl` line, the server's metadata
and its warm-up use it, so that what a user pastes first is a request that the recipe takes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from chandlery.files import write_text
from chandlery.recipe import Column, Columns

EXAMPLE = "example.json"


def example_row(columns: tuple[Column, ...], rows: Columns) -> Columns:
    """Return one of n rows as the example: the first without a missing value, or else the first.

    Args:
        columns: the columns of a request.
        rows: these columns, n rows each; others are left out.

    Returns:
        arrays of shape (1, ...); empty when there is no row.
    """
    chosen = {column.name: np.asarray(rows[column.name]) for column in columns}
    length = min((len(array) for array in chosen.values()), default=0)
    if not length:
        return {}
    whole = np.ones(length, dtype=bool)
    for array in chosen.values():
        if array.dtype.kind == "f":
            whole &= np.isfinite(array).reshape(length, -1).all(axis=1)
    first = int(np.argmax(whole))  # 0 when no row is whole
    return {name: array[first : first + 1].copy() for name, array in chosen.items()}


def write_example(folder: Path, row: Columns) -> None:
    """Write the example of the model package in `folder`; without a row nothing is written."""
    if row:
        write_text(folder / EXAMPLE, readable({name: listed(array) for name, array in row.items()}) + "\n")


def read_example(folder: Path, columns: tuple[Column, ...]) -> Columns:
    """Return the example of the model package in `folder`: arrays of one row by column name.

    A package of an earlier release has none, and gets a row made from the schema.
    """
    try:
        found = json.loads((folder / EXAMPLE).read_text(encoding="utf-8"))
        return {
            column.name: np.array(found[column.name], dtype=_dtype(column)).reshape(1, *column.shape)
            for column in columns
        }
    except (OSError, ValueError, TypeError, KeyError):
        return schema_row(columns)


def _dtype(column: Column) -> str:
    return "float64" if column.nullable and "int" in column.dtype else column.dtype


def example_text(folder: Path, longest: int = 2000) -> str:
    """Return the JSON of the example of the model package in `folder`; empty when there is none or it is longer."""
    try:
        text = (folder / EXAMPLE).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
    return text if len(text) <= longest else ""


def schema_row(columns: tuple[Column, ...]) -> Columns:
    """Return one row that the schema allows; a recipe may refuse it, for texts have no smallest value."""
    return {column.name: _schema_value(column) for column in columns}


def listed(array: np.ndarray) -> Any:
    """Return an array as lists for JSON, a value that is not finite as None."""
    plain = np.asarray(array).astype(object)
    if array.dtype.kind == "f":
        plain[~np.isfinite(array)] = None
    return plain.tolist()


def readable(document: Any) -> str:
    """Return JSON on one line; characters that a terminal hides or obeys are escaped, the rest is as people read it."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if ord(char) > 127 else f"\\u{ord(char):04x}"


def _schema_value(column: Column) -> np.ndarray:
    if column.allowed:
        value: object = column.allowed[0]
    elif column.dtype == "str":
        value = ""
    elif column.minimum is not None and column.maximum is not None:
        value = (column.minimum + column.maximum) / 2
    else:
        value = column.minimum or column.maximum or 0
    return np.full((1, *column.shape), value).astype(column.dtype)
