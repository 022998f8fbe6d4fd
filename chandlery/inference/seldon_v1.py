"""Protocol v1: Seldon's SeldonMessage and Feedback as JSON, as its Python wrapper reads and writes them."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from chandlery.inference.layout import array_of, records_of, table_of_answers
from chandlery.inference.refusal import Refused
from chandlery.recipe import Column, Columns, describe


@dataclass(frozen=True)
class Message:
    """The parts of a SeldonMessage that a model looks at.

    Attributes:
        data: a table, or for `jsonData` a mapping; None when the message has no data.
        names: names of the table's places.
        form: how the data was sent, which is how the answer goes back: `ndarray`, `tensor`, `jsonData` or `records`, which
            is `jsonData` as a list of objects.
        puid: identifier of the prediction; empty when there is none.
        tags: tags of the request, which the answer repeats.
        path: `requestPath` so far.
        single: one text or bytes (`strData`, `binData`) in place of data; see `rows_of_single`.
    """

    data: np.ndarray | dict[str, Any] | None
    names: list[str]
    form: str
    puid: str
    tags: dict[str, Any]
    path: dict[str, Any]
    single: str | bytes | None = None


def read_message(document: Any, what: str = "request") -> Message:
    """Read a SeldonMessage.

    Args:
        document: parsed JSON.
        what: name of the message in errors.

    Raises:
        Refused: not a SeldonMessage, or data of a kind that a table model cannot take.
    """
    if not isinstance(document, dict):
        raise Refused(400, f"{what} is {_kind(document)}; expected an object with data or jsonData")
    meta = _mapping(document.get("meta"), f"{what}.meta")
    single = _single(document, what) if "strData" in document or "binData" in document else None
    # Seldon's wrapper answers a single value with a tensor, or an ndarray where not all are numbers.
    data, names, form = _data(document, what) if single is None else (None, [], "tensor")
    return Message(
        data=data,
        names=names,
        form=form,
        puid=str(meta.get("puid") or ""),
        tags=_given_back(meta, "tags", what),
        path=_given_back(meta, "requestPath", what),
        single=single,
    )


def _given_back(meta: Mapping[str, Any], field: str, what: str) -> dict[str, Any]:
    """Return a map of the request that goes into the answer as it is."""
    value = _mapping(meta.get(field), f"{what}.meta.{field}")
    if value:
        # Deeper than it will stand: JSON may be read deeper than it can be written.
        try:
            orjson.dumps([[[[value]]]])
        except TypeError as error:
            raise Refused(400, f"{what}.meta.{field} cannot be given back: {error}") from error
    return value


def write_answer(
    answers: Columns, message: Message, tags: Mapping[str, Any], path: Mapping[str, str], puid: str
) -> dict[str, Any]:
    """Write answers as the SeldonMessage that Seldon's wrapper makes of them.

    Args:
        answers: arrays of n answers.
        message: the request, whose form, tags and path go into the answer.
        tags: tags of the model.
        path: `requestPath` of this node.
        puid: identifier of the prediction.
    """
    meta = {
        "puid": puid,
        "tags": {**message.tags, **tags},
        "requestPath": {**path, **message.path},
    }
    if message.form == "jsonData":
        return {"jsonData": {name: values.tolist() for name, values in answers.items()}, "meta": meta}
    if message.form == "records":
        return {"jsonData": records_of(answers), "meta": meta}
    names, table = table_of_answers(answers)
    data: dict[str, Any] = {"names": names}
    # A column that does not hold numbers is never answered as a tensor.
    if message.form == "tensor" and table.dtype.kind in "iuf":
        data["tensor"] = {"shape": list(table.shape), "values": table.ravel().tolist()}
    else:
        data["ndarray"] = table.tolist()
    return {"data": data, "meta": meta}


def write_error(refused: Refused) -> dict[str, Any]:
    """Write a refusal as Seldon's failed status."""
    return {
        "status": {
            "code": refused.status,
            "info": refused.info,
            "reason": refused.reason,
            "status": "FAILURE",
        }
    }


def _data(document: dict[str, Any], what: str) -> tuple[np.ndarray | dict[str, Any] | None, list[str], str]:
    if "customData" in document:
        raise Refused(400, f"{what}.customData is not supported; send data.ndarray, data.tensor or jsonData")
    if "jsonData" in document:
        data = document["jsonData"]
        if isinstance(data, list) and data and isinstance(data[0], dict):
            return columns_of_records(data, f"{what}.jsonData"), [], "records"
        if not isinstance(data, dict):
            raise Refused(
                400, f"{what}.jsonData is {_kind(data)}; expected lists by column name, or a list of objects"
            )
        return data, [], "jsonData"
    if document.get("data") is None:
        return None, [], "ndarray"
    data = _mapping(document["data"], f"{what}.data")
    names = _names(data.get("names"), f"{what}.data.names")
    if "tensor" in data:
        return _tensor(data["tensor"], f"{what}.data.tensor"), names, "tensor"
    if "ndarray" in data:
        if not isinstance(data["ndarray"], list):
            raise Refused(400, f"{what}.data.ndarray is {_kind(data['ndarray'])}; expected a list of rows")
        return array_of(data["ndarray"], f"{what}.data.ndarray"), names, "ndarray"
    kinds = ", ".join(sorted(set(data) - {"names"})) or "nothing"
    raise Refused(400, f"{what}.data has {kinds}; expected ndarray or tensor")


def columns_of_records(records: Sequence[Any], what: str) -> dict[str, Any]:
    """Return lists of values by column name for a list of objects, each a row.

    Raises:
        Refused: one is not an object, or has other names than the first.
    """
    first = records[0]
    # The same names in each: the union of all could be larger than the request by its square.
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            raise Refused(400, f"{what}[{number}] is {_kind(record)}; expected an object, as the first")
        if record.keys() != first.keys():
            odd = sorted(record.keys() ^ first.keys())[0]
            has = "has" if odd in record else "does not have"
            raise Refused(
                400, f"{what}[{number}] {has} {odd[:80]!r}, unlike {what}[0]; send null for what is missing"
            )
    return {name: [record[name] for record in records] for name in first}


def rows_of_single(single: str | bytes, columns: Sequence[Column]) -> dict[str, Any] | np.ndarray:
    """Return the data of a message with a single value, for a recipe with one column.

    Args:
        single: a text; or bytes, which are a text in UTF-8 for a column of texts, and the values of as many rows as
            they fill for a column of uint8.
        columns: the recipe's input columns.

    Raises:
        Refused: the recipe has other columns, or the bytes do not fit.
    """
    column = columns[0]
    text = column.dtype == "str" and not column.shape
    kind = "strData" if isinstance(single, str) else "binData"
    if len(columns) != 1 or not (text or (column.dtype == "uint8" and kind == "binData")):
        raise Refused(
            400,
            f"{kind} is for a recipe with one column of texts{'' if kind == 'strData' else ' or bytes'}; "
            f"expected {describe(tuple(columns))}",
        )
    if isinstance(single, str):
        return {column.name: [single]}
    if text:
        try:
            return {column.name: [single.decode("utf-8")]}
        except UnicodeDecodeError as error:
            raise Refused(400, f"binData is not UTF-8: {error.reason}; {column.name!r} is text") from error
    size = math.prod(column.shape)
    if not single or len(single) % size:
        raise Refused(400, f"binData has {len(single)} bytes; a row of {column.name!r} has {size}")
    return np.frombuffer(single, "uint8").reshape(-1, *column.shape)


def _single(document: dict[str, Any], what: str) -> str | bytes:
    kind = "strData" if "strData" in document else "binData"
    value = document[kind]
    if not isinstance(value, str):
        raise Refused(400, f"{what}.{kind} is {_kind(value)}; expected text")
    if kind == "strData":
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"{what}.binData is not base64: {error}") from error


def _tensor(tensor: Any, what: str) -> np.ndarray:
    fields = _mapping(tensor, what)
    shape, values = fields.get("shape"), fields.get("values")
    if not isinstance(values, list) or not isinstance(shape, list) or not is_shape(shape):
        raise Refused(400, f"{what} needs shape, a list of whole numbers, and values, a flat list of numbers")
    array = array_of(values, f"{what}.values")
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise Refused(400, f"{what}.values is not a flat list of numbers")
    return reshaped(array, shape, what)


def is_shape(shape: Any) -> bool:
    """Return whether parsed JSON is the shape of an array."""
    return (
        isinstance(shape, list)
        and len(shape) <= 32
        and all(type(size) is int and 0 <= size < 2**31 for size in shape)
    )


def reshaped(array: np.ndarray, shape: Sequence[int], what: str) -> np.ndarray:
    """Give an array the shape that was announced.

    Raises:
        Refused: the number of values is another.
    """
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise Refused(
            400, f"{what} has {array.size} values, which do not make shape {list(shape)}"
        ) from error


def _names(names: Any, what: str) -> list[str]:
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused(400, f"{what} is not a list of text")
    return names


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(400, f"{what} is {_kind(value)}; expected an object")
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return names.get(type(value), "a number")
