"""What `mlflow models serve` speaks: `/invocations` with dataframes, tensors or CSV, answered with predictions.

The forms of the answers are those that MLflow makes of a registered version of this package: rows as objects for a
dataframe, and the answer columns by name for inputs by name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from chandlery.inference.layout import array_of, columns_of_json, columns_of_table, places, records_of
from chandlery.inference.refusal import Refused
from chandlery.inference.seldon_v1 import columns_of_records
from chandlery.recipe import Column, Columns, describe

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
ERROR_CODES = {400: "BAD_REQUEST", 404: "RESOURCE_DOES_NOT_EXIST"}


@dataclass(frozen=True)
class Invocation:
    """The rows of a request and the form of its answer.

    Attributes:
        columns: arrays by column name, for the recipe to check.
        form: `records` (a list of objects), `columns` (lists by name) or `values` (a list: of the answer where it has one
            column, else of objects).
    """

    columns: Columns
    form: Literal["records", "columns", "values"]


def read_invocation(document: Any, columns: Sequence[Column]) -> Invocation:
    """Read a request.

    Args:
        document: parsed JSON: one of `FORMS`, and `params`, which are not used.
        columns: the recipe's input columns.

    Raises:
        Refused: it has none or several of the forms, or its data is of another shape.
    """
    given = [form for form in FORMS if isinstance(document, dict) and form in document]
    if len(given) != 1:
        raise Refused(
            400, f"the request has {' and '.join(given) or 'no data'}; send one of {', '.join(FORMS)}"
        )
    form = given[0]
    data = document[form]
    if form == "dataframe_split":
        return Invocation(_split(data, columns), "records")
    if form == "dataframe_records" or (isinstance(data, list) and data and isinstance(data[0], dict)):
        if not isinstance(data, list) or not data:
            raise Refused(400, f"{form} is not a list of objects with {_names(columns)}")
        rows = _by_name(columns, columns_of_records(data, form))
        return Invocation(rows, "records" if form == "dataframe_records" else "columns")
    if isinstance(data, dict):
        if form == "instances":
            raise Refused(400, "instances is an object; expected a list of rows")
        return Invocation(_by_name(columns, data), "columns")
    if not isinstance(data, list):
        raise Refused(400, f"{form} is neither a list of rows nor lists by column name: {_names(columns)}")
    return Invocation(_table(columns, data, [], form), "values")


def read_csv(body: bytes, columns: Sequence[Column]) -> Invocation:
    """Read rows of CSV in UTF-8, with a line of column names before them.

    An empty field is a missing value.

    Raises:
        Refused: it is not such, or a value is not of its column's type.
    """
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError as error:
        raise Refused(400, f"the CSV is not UTF-8: {error.reason}") from error
    except csv.Error as error:
        raise Refused(400, f"the body is not CSV: {error}") from error
    lines = [line for line in lines if line]
    if len(lines) < 2:
        raise Refused(
            400, f"the CSV has no row; expected a line of names, {_names(columns)}, and rows after it"
        )
    head, rows = lines[0], lines[1:]
    known = {place: column for column in columns for place in places(column.name, column.shape)}
    odd = [name for name in head if name not in known] or [name for name in known if name not in head]
    if odd or len(head) != len(known):
        raise Refused(
            400,
            f"the CSV's names do not fit: {(odd or ['a repeated one'])[0][:80]!r}; expected {_names(columns)}",
        )
    uneven = next((number for number, row in enumerate(rows) if len(row) != len(head)), None)
    if uneven is not None:
        raise Refused(400, f"row {uneven} of the CSV has {len(rows[uneven])} fields; expected {len(head)}")
    fields = {
        name: _typed(known[name], name, [row[index] for row in rows]) for index, name in enumerate(head)
    }
    values: dict[str, Any] = {}
    for column in columns:
        parts = [fields[place] for place in places(column.name, column.shape)]
        if column.shape:
            elements = [list(row) for row in zip(*parts, strict=True)]
            values[column.name] = np.array(elements, object).reshape(len(rows), *column.shape).tolist()
        else:
            values[column.name] = parts[0]
    return Invocation(columns_of_json(columns, values), "records")


def write_predictions(answers: Columns, invocation: Invocation) -> dict[str, Any]:
    """Write answers in the form that goes with the request."""
    if invocation.form == "columns":
        return {"predictions": {name: values.tolist() for name, values in answers.items()}}
    if invocation.form == "values" and len(answers) == 1:
        return {"predictions": next(iter(answers.values())).tolist()}
    return {"predictions": records_of(answers)}


def write_error(refused: Refused) -> dict[str, Any]:
    """Write a refusal as MLflow does."""
    code = ERROR_CODES.get(refused.status, "BAD_REQUEST" if refused.status < 500 else "INTERNAL_ERROR")
    return {"error_code": code, "message": refused.info}


def _split(data: Any, columns: Sequence[Column]) -> Columns:
    rows = data.get("data") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise Refused(
            400, "dataframe_split has no data; expected an object with columns and data, a list of rows"
        )
    names = data.get("columns")
    if names is None:
        return _table(columns, rows, [], "dataframe_split.data")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(400, "dataframe_split.columns is not a list of names")
    if any(len(row) != len(names) for row in rows):
        raise Refused(
            400, f"dataframe_split.data has a row that does not have {len(names)} values, as columns has"
        )
    if len(set(names)) != len(names):
        raise Refused(400, "dataframe_split.columns names a column twice")
    return _by_name(columns, {name: [row[index] for row in rows] for index, name in enumerate(names)})


def _by_name(columns: Sequence[Column], values: dict[str, Any]) -> Columns:
    """Return columns by their own names, or by the places of a column whose rows have a shape: `pixels:0` and so on."""
    if values.keys() == {column.name for column in columns}:
        return columns_of_json(columns, values)
    expected = [place for column in columns for place in places(column.name, column.shape)]
    if values.keys() == set(expected):
        table = [[row[place] for place in expected] for row in _rows(values)]
        return _table(columns, table, [], "the request")
    return columns_of_json(columns, values)


def _rows(values: dict[str, Any]) -> list[dict[str, Any]]:
    if len({len(listed) if isinstance(listed, list) else -1 for listed in values.values()}) != 1:
        raise Refused(400, "the columns are not lists of one length")
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _table(columns: Sequence[Column], rows: list[Any], names: list[str], what: str) -> Columns:
    table = array_of(rows, what)
    if table.ndim == 1 and len(columns) == 1 and not columns[0].shape:
        table = table[:, None]  # a list of values for a recipe with one of each row
    return columns_of_table(columns, table, names)


def _typed(column: Column, name: str, fields: list[str]) -> list[Any]:
    if column.dtype == "str":
        return [field or None for field in fields] if column.nullable else fields
    if column.dtype == "bool":
        words = {"true": True, "false": False, "1": True, "0": False}
        if any(field.lower() not in words for field in fields):
            raise Refused(400, f"column {name!r} of the CSV has a field that is neither true nor false")
        return [words[field.lower()] for field in fields]
    convert = int if "int" in column.dtype else float
    try:
        return [convert(field) if field else None for field in fields]
    except ValueError as error:
        raise Refused(400, f"column {name!r} of the CSV: {str(error)[:120]}") from error


def _names(columns: Sequence[Column]) -> str:
    return describe(tuple(columns))
