"""Protocol v2: the Open Inference Protocol's JSON form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chandlery.inference.layout import array_of, columns_of_table
from chandlery.inference.model import DATATYPES
from chandlery.inference.refusal import Refused
from chandlery.inference.seldon_v1 import is_shape, reshaped
from chandlery.recipe import Column, Columns, describe

TYPES = {datatype: name for name, datatype in DATATYPES.items()}
# by the type itself, because numpy is slow to return a type's name
_DATATYPES = {np.dtype(name): datatype for name, datatype in DATATYPES.items() if name != "str"}


@dataclass(frozen=True)
class InferRequest:
    """An inference request.

    Attributes:
        columns: the arrays that it sends, by column name, for the recipe to check.
        id: the caller's identifier; empty when there is none.
        outputs: names of the answers wanted; empty: all.
    """

    columns: Columns
    id: str
    outputs: list[str]


def read_request(document: Any, columns: Sequence[Column]) -> InferRequest:
    """Read an inference request.

    Inputs are named by the recipe's columns. One input by another name is taken as a table of all columns.

    Raises:
        Refused: it breaks the protocol; the recipe checks the rest.
    """
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list):
        raise Refused(400, f"the request has no list of inputs; expected {describe(tuple(columns))}")
    arrays: Columns = {}
    for number, entry in enumerate(document["inputs"]):
        name, array = _input(entry, f"inputs[{number}]")
        if name in arrays:
            raise Refused(400, f"input {name!r} is there twice")
        arrays[name] = array
    if len(arrays) == 1 and not set(arrays) & {column.name for column in columns}:
        arrays = columns_of_table(columns, next(iter(arrays.values())), [])
    identifier = document.get("id", "")
    if not isinstance(identifier, str):
        raise Refused(400, "id is not text")
    return InferRequest(arrays, identifier, _wanted(document.get("outputs")))


def write_answer(answers: Columns, request: InferRequest, name: str, version: str, id: str) -> dict[str, Any]:
    """Write answers as an inference response.

    Raises:
        Refused: an output was asked for that there is not.
    """
    unknown = [output for output in request.outputs if output not in answers]
    if unknown:
        raise Refused(400, f"no output {unknown[0]!r}; the outputs are {', '.join(answers)}")
    return {
        "model_name": name,
        "model_version": version,
        "id": id,
        "outputs": [_output(output, answers[output]) for output in request.outputs or answers],
    }


def _output(name: str, values: np.ndarray) -> dict[str, Any]:
    datatype = "BYTES" if values.dtype.kind in "UOS" else _DATATYPES[values.dtype]
    return {
        "name": name,
        "shape": list(values.shape),
        "datatype": datatype,
        "data": values.ravel().tolist(),
    }


def _input(entry: Any, what: str) -> tuple[str, np.ndarray]:
    if not isinstance(entry, dict):
        raise Refused(400, f"{what} is not an object with name, shape, datatype and data")
    name, shape, datatype = entry.get("name"), entry.get("shape"), entry.get("datatype")
    if not isinstance(name, str):
        raise Refused(400, f"{what} has no name")
    what = f"input {name!r}"
    if not is_shape(shape):
        raise Refused(400, f"{what} has no shape; expected a list of whole numbers, such as [n]")
    if not isinstance(datatype, str) or datatype not in TYPES:
        raise Refused(400, f"{what} has datatype {str(datatype)[:40]!r}; valid: {', '.join(TYPES)}")
    if "data" not in entry:
        raise Refused(400, f"{what} has no data; the binary extension is not supported")
    array = array_of(entry["data"], what)
    return name, reshaped(_cast(array, datatype, what), shape or [], what)


def _cast(array: np.ndarray, datatype: str, what: str) -> np.ndarray:
    text = array.dtype.kind == "U"
    if array.size == 0:
        return array.astype(TYPES[datatype])
    # null: NaN among numbers, and as it is among texts. The recipe decides whether it may be there.
    if array.dtype.kind == "O" and datatype.startswith(("FP", "INT", "UINT")):
        try:
            if any(isinstance(value, str) for value in array.flat):
                raise ValueError("a text")
            return array.astype(TYPES[datatype] if datatype.startswith("FP") else "float64")
        except (TypeError, ValueError, OverflowError) as error:
            raise Refused(400, f"{what} is {datatype} and holds a value that is not a number") from error
    if array.dtype.kind == "O" and datatype == "BYTES" and not any(_is_number(v) for v in array.flat):
        return array
    if array.dtype.kind == "O" or text != (datatype == "BYTES"):
        raise Refused(400, f"{what} is {datatype} and holds something else")
    if text:
        return array
    with np.errstate(all="ignore"):
        cast = array.astype(TYPES[datatype])
    if not datatype.startswith("FP") and not np.array_equal(cast, array):
        raise Refused(400, f"{what} is {datatype} and holds a value that is not")
    return cast


def _is_number(value: object) -> bool:
    return value is not None and not isinstance(value, str)


def _wanted(outputs: Any) -> list[str]:
    if outputs is None:
        return []
    if not isinstance(outputs, list) or not all(
        isinstance(output, dict) and isinstance(output.get("name"), str) for output in outputs
    ):
        raise Refused(400, "outputs is not a list of objects with a name")
    return [output["name"] for output in outputs]
