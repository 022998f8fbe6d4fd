"""How a table of numbers, which is all that protocol v1 sends, lines up with the columns of a recipe.

A scalar column takes one place, `name`; a column whose rows have a shape takes one place per element, `name:0`,
`name:1` and so on in C order. Answers are laid out in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chandlery.inference.refusal import Refused
from chandlery.recipe import TEXT_BYTES, Column, Columns, describe

SHORT_TEXT = 16  # characters: as many values as a body can hold take little memory with texts of this length
DEEPEST = 64  # numpy's limit of dimensions


def places(name: str, shape: tuple[int, ...]) -> list[str]:
    """Return the names of the places that a column of the given row shape takes."""
    return [f"{name}:{index}" for index in range(math.prod(shape))] if shape else [name]


def columns_of_table(columns: Sequence[Column], table: np.ndarray, names: Sequence[str]) -> Columns:
    """Cut a table into the arrays of a request.

    Args:
        columns: the recipe's input columns.
        table: array (n, places), or (n, *shape) when there is one column.
        names: name of each place, in any order; empty: the recipe's order.

    Raises:
        Refused: shape or names fit no layout; the message names what was expected.
    """
    if len(columns) == 1 and table.shape[1:] == columns[0].shape and list(names) in ([], [columns[0].name]):
        return {columns[0].name: _typed(columns[0], table, mixed=False)}
    expected = [place for column in columns for place in places(column.name, column.shape)]
    if table.ndim != 2 or table.shape[1] != len(expected):
        raise Refused(
            400,
            f"data has shape {list(table.shape)}; expected [n, {len(expected)}]: {describe(tuple(columns))}",
        )
    if list(names) not in ([], expected, [columns[0].name] if len(columns) == 1 else []):
        table = table[:, _order(expected, names)]
    mixed = any(column.dtype == "str" for column in columns)
    request: Columns = {}
    start = 0
    for column in columns:
        width = math.prod(column.shape)
        part = table[:, start : start + width].reshape(len(table), *column.shape)
        request[column.name] = _typed(column, part, mixed)
        start += width
    return request


def columns_of_json(columns: Sequence[Column], data: Mapping[str, object]) -> Columns:
    """Turn a mapping from column name to list of n values into the arrays of a request; the recipe checks the names."""
    known = {column.name: column for column in columns}
    request: Columns = {}
    for name, values in data.items():
        array = array_of(values, f"column {name!r}")
        request[name] = _typed(known[name], array, mixed=False) if name in known else array
    return request


def table_of_answers(answers: Columns) -> tuple[list[str], np.ndarray]:
    """Lay answers out as one table.

    Returns:
        the names of its places, and an array (n, places): of one numeric type when every answer is a number, of
        objects when one is text.
    """
    names: list[str] = []
    parts: list[np.ndarray] = []
    for name, values in answers.items():
        names += places(name, values.shape[1:])
        parts.append(values.reshape(len(values), -1))
    if any(part.dtype.kind not in "biuf" for part in parts):
        parts = [np.array(part.tolist(), dtype=object).reshape(part.shape) for part in parts]
    return names, parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def array_of(values: object, what: str) -> np.ndarray:
    """Make an array of parsed JSON.

    Raises:
        Refused: the lists have uneven lengths or hold objects, or a text is too long for so many values.
    """
    longest = _longest(values)
    if longest > SHORT_TEXT and 4 * longest * _count(values) > TEXT_BYTES:
        # numpy gives each text the room of the longest: a small request could take all memory.
        raise Refused(
            400,
            f"{what} has a text of {longest} characters among {_count(values)} values; send it in a request of its own",
        )
    try:
        array = np.array(values)
    except ValueError as error:
        raise Refused(400, f"{what} is not a regular array: its lists have uneven lengths") from error
    if array.dtype.kind not in "biufUO" or (array.dtype.kind == "O" and not _flat_objects(array)):
        raise Refused(400, f"{what} holds something that is neither number nor text")
    return array


def records_of(answers: Columns) -> list[dict[str, Any]]:
    """Return answers as a list of objects, each a row."""
    rows = zip(*(values.tolist() for values in answers.values()), strict=True)
    return [dict(zip(answers, row, strict=True)) for row in rows]


def _longest(values: object, depth: int = 0) -> int:
    """Return the length of the longest text in nested lists; of lists nested deeper than arrays are, any number."""
    if not isinstance(values, list) or depth > DEEPEST:
        return len(values) if isinstance(values, str) else 0
    kinds = set(map(type, values))  # quick for numbers, which most requests are
    longest = max(len(v) for v in values if type(v) is str) if str in kinds else 0
    return max(longest, *(_longest(v, depth + 1) for v in values)) if list in kinds else longest


def _count(values: object, depth: int = 0) -> int:
    if not isinstance(values, list) or depth > DEEPEST:
        return 1
    return sum(_count(value, depth + 1) for value in values)


def _flat_objects(array: np.ndarray) -> bool:
    # Objects appear where null stands among numbers or text, or where an integer is too long for 64 bits.
    return all(value is None or isinstance(value, (int, float, str)) for value in array.flat)


def _order(expected: list[str], names: Sequence[str]) -> list[int]:
    if sorted(names) != sorted(expected):
        odd = [name for name in names if name not in expected] or [n for n in expected if n not in names]
        what = f"{odd[0]!r}" if odd else "a repeated name"
        raise Refused(400, f"data.names does not fit: {what}; expected {', '.join(expected[:20])}")
    where = {name: index for index, name in enumerate(names)}
    return [where[name] for name in expected]


def _typed(column: Column, part: np.ndarray, mixed: bool) -> np.ndarray:
    """Undo what one array for all columns did to a column of another type."""
    allowed = (str, type(None)) if column.nullable else str
    if (
        column.dtype == "str"
        and part.dtype.kind == "O"
        and any(not isinstance(v, allowed) for v in part.flat)
    ):
        raise Refused(400, f"{column.name!r} has a value that is not text; expected {describe((column,))}")
    if column.dtype == "str" or part.dtype.kind not in "UO":
        return part
    # A table with one text column is all text, and null among numbers makes objects; a lone text is a mistake.
    if (part.dtype.kind == "U" and not mixed) or (
        part.dtype.kind == "O" and not column.nullable and not mixed
    ):
        return part
    try:
        return part.astype("float64")
    except (TypeError, ValueError):
        return part  # the recipe's own check refuses it, in its own words
