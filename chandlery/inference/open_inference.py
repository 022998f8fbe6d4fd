"""Protocol v2: the Open Inference Protocol as JSON, with or without raw tensors behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chandlery.inference.binary import RAW_TYPES, read_raw, write_raw
from chandlery.inference.layout import array_of, columns_of_table
from chandlery.inference.model import DATATYPES
from chandlery.inference.refusal import Refused
from chandlery.inference.seldon_v1 import is_shape, reshaped
from chandlery.recipe import Column, Columns, describe

# of this protocol's extensions; Triton's names
EXTENSIONS = ("binary_tensor_data", "model_repository")

TYPES = {datatype: name for name, datatype in DATATYPES.items()}
_VALID = ", ".join((*TYPES, "BF16"))
# by the type itself, because numpy is slow to return a type's name
_DATATYPES = {np.dtype(name): datatype for name, datatype in DATATYPES.items() if name != "str"}


@dataclass(frozen=True)
class InferRequest:
    """An inference request.

    Attributes:
        columns: the arrays that it sends, by column name, for the recipe to check.
        id: the caller's identifier; empty when there is none.
        outputs: names of the answers wanted; empty: all.
        parameters: the request's own parameters.
        output_parameters: the parameters of each output that has some, by its name.
    """

    columns: Columns
    id: str
    outputs: list[str]
    parameters: dict[str, Any] = field(default_factory=dict)
    output_parameters: dict[str, dict[str, Any]] = field(default_factory=dict)

    def is_binary(self, output: str) -> bool:
        """Return whether an output is wanted as raw bytes."""
        given = self.output_parameters.get(output, {}).get("binary_data")
        return bool(self.parameters.get("binary_data_output", False) if given is None else given)


class RawTensors:
    """The raw tensors behind the JSON of a request, taken one after the other.

    Args:
        raw: their bytes.
    """

    def __init__(self, raw: memoryview) -> None:
        self._raw = raw

    def take(self, size: Any, what: str) -> memoryview:
        """Return the bytes of the next tensor.

        Raises:
            Refused: there are fewer.
        """
        if type(size) is not int or not 0 <= size <= len(self._raw):
            raise Refused(
                400,
                f"{what} has binary_data_size {str(size)[:40]}; {len(self._raw)} bytes of raw tensors are left",
            )
        taken, self._raw = self._raw[:size], self._raw[size:]
        return taken

    def finish(self) -> None:
        """Refuse bytes that belong to no tensor."""
        if len(self._raw):
            raise Refused(
                400, f"{len(self._raw)} bytes after the JSON belong to no input; see binary_data_size"
            )


def read_request(document: Any, columns: Sequence[Column], raw: memoryview | None = None) -> InferRequest:
    """Read an inference request.

    Inputs are named by the recipe's columns. One input by another name is taken as a table of all columns. A scalar
    column may be sent as [n, 1], which is how several clients send each column of a table.

    Args:
        document: parsed JSON.
        columns: the recipe's input columns.
        raw: the bytes behind the JSON, for inputs with `binary_data_size`; None: there are none.

    Raises:
        Refused: it breaks the protocol; the recipe checks the rest.
    """
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list):
        raise Refused(400, f"the request has no list of inputs; expected {describe(tuple(columns))}")
    tensors = RawTensors(raw if raw is not None else memoryview(b""))
    arrays: Columns = {}
    for number, entry in enumerate(document["inputs"]):
        name, array = _input(entry, f"inputs[{number}]", tensors)
        if name in arrays:
            raise Refused(400, f"input {name!r} is there twice")
        arrays[name] = array
    tensors.finish()
    identifier = document.get("id", "")
    if not isinstance(identifier, str):
        raise Refused(400, "id is not text")
    outputs, output_parameters = _wanted(document.get("outputs"))
    return InferRequest(
        as_columns(arrays, columns),
        identifier,
        outputs,
        _parameters(document["parameters"], "the request") if "parameters" in document else {},
        output_parameters,
    )


def as_columns(arrays: Columns, columns: Sequence[Column]) -> Columns:
    """Return the tensors of a request as the recipe's columns, as far as their names and shapes say so."""
    if len(arrays) == 1 and not set(arrays) & {column.name for column in columns}:
        return columns_of_table(columns, next(iter(arrays.values())), [])
    for column in columns:
        array = arrays.get(column.name)
        if array is not None and array.ndim == 2 and array.shape[1] == 1 and not column.shape:
            arrays[column.name] = array[:, 0]
    return arrays


def write_answer(answers: Columns, request: InferRequest, name: str, version: str, id: str) -> dict[str, Any]:
    """Write answers as an inference response in JSON.

    Raises:
        Refused: an output was asked for that there is not.
    """
    return _response(
        [_output(output, answers[output], request) for output in chosen(answers, request)],
        request,
        name,
        version,
        id,
    )


def write_binary_answer(
    answers: Columns, request: InferRequest, name: str, version: str, id: str
) -> tuple[dict[str, Any], list[bytes]]:
    """Write answers as an inference response whose outputs are raw bytes where the request wants that.

    Returns:
        the JSON part, and the raw tensors that go behind it.

    Raises:
        Refused: an output was asked for that there is not.
    """
    outputs: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name_of_output in chosen(answers, request):
        values = answers[name_of_output]
        if request.is_binary(name_of_output):
            raw.append(write_raw(values))
            outputs.append(
                {
                    "name": name_of_output,
                    "shape": list(values.shape),
                    "datatype": datatype_of(values),
                    "parameters": {"binary_data_size": len(raw[-1])},
                }
            )
        else:
            outputs.append(_output(name_of_output, values, request))
    return _response(outputs, request, name, version, id), raw


def wants_binary(request: InferRequest, answers: Columns) -> bool:
    """Return whether some output is wanted as raw bytes."""
    if not request.parameters and not request.output_parameters:
        return False
    return any(request.is_binary(output) for output in request.outputs or answers)


def chosen(answers: Columns, request: InferRequest) -> Sequence[str]:
    """Return the names of the answers that a request wants, in its order.

    Raises:
        Refused: there is no such answer.
    """
    unknown = [output for output in request.outputs if output not in answers]
    if unknown:
        raise Refused(400, f"no output {unknown[0]!r}; the outputs are {', '.join(answers)}")
    return request.outputs or list(answers)


def _response(
    outputs: list[dict[str, Any]], request: InferRequest, name: str, version: str, id: str
) -> dict[str, Any]:
    response: dict[str, Any] = {"model_name": name, "model_version": version, "id": id, "outputs": outputs}
    if "content_type" in request.parameters:  # the codec that MLServer's clients decode the answer with
        response["parameters"] = {"content_type": request.parameters["content_type"]}
    return response


def datatype_of(values: np.ndarray) -> str:
    """Return the protocol's type of an array."""
    return "BYTES" if values.dtype.kind in "UOS" else _DATATYPES[values.dtype]


def _output(name: str, values: np.ndarray, request: InferRequest) -> dict[str, Any]:
    output: dict[str, Any] = {
        "name": name,
        "shape": list(values.shape),
        "datatype": datatype_of(values),
        "data": values.ravel().tolist(),
    }
    if "content_type" in request.parameters:
        output["parameters"] = {"content_type": "str" if output["datatype"] == "BYTES" else "np"}
    return output


def _input(entry: Any, what: str, tensors: RawTensors) -> tuple[str, np.ndarray]:
    if not isinstance(entry, dict):
        raise Refused(400, f"{what} is not an object with name, shape, datatype and data")
    name, shape, datatype = entry.get("name"), entry.get("shape"), entry.get("datatype")
    if not isinstance(name, str):
        raise Refused(400, f"{what} has no name")
    what = f"input {name!r}"
    if not is_shape(shape):
        raise Refused(400, f"{what} has no shape; expected a list of whole numbers, such as [n]")
    if not isinstance(datatype, str) or (datatype not in TYPES and datatype not in RAW_TYPES):
        raise Refused(400, f"{what} has datatype {str(datatype)[:40]!r}; valid: {_VALID}")
    if "data" not in entry:
        return name, _raw_input(entry, shape or [], datatype, what, tensors)
    if datatype == "BF16":
        raise Refused(400, f"{what} is BF16, which JSON does not have; send it as raw bytes, or as FP32")
    array = array_of(entry["data"], what)
    return name, reshaped(_cast(array, datatype, what), shape or [], what)


def _raw_input(
    entry: dict[str, Any], shape: Sequence[int], datatype: str, what: str, tensors: RawTensors
) -> np.ndarray:
    parameters = _parameters(entry.get("parameters"), what)
    if "binary_data_size" not in parameters:
        raise Refused(400, f"{what} has no data, and no parameters.binary_data_size for raw bytes")
    return read_raw(tensors.take(parameters["binary_data_size"], what), datatype, shape, what)


def _parameters(parameters: Any, what: str) -> dict[str, Any]:
    """Return parameters, of which only those are looked at that this server knows; the protocol leaves all others free."""
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise Refused(400, f"the parameters of {what} are not an object")
    for name in ("binary_data", "binary_data_output"):
        if not isinstance(parameters.get(name, False), bool):
            raise Refused(400, f"{name} of {what} is neither true nor false")
    if not isinstance(parameters.get("content_type", ""), str):
        raise Refused(400, f"content_type of {what} is not text")
    for name in ("shared_memory_region", "classification"):
        if name in parameters:
            raise Refused(
                400, f"{what} has {name}, an extension that this server does not have; leave it out"
            )
    return parameters


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


def _wanted(outputs: Any) -> tuple[list[str], dict[str, dict[str, Any]]]:
    if outputs is None:
        return [], {}
    if not isinstance(outputs, list) or not all(
        isinstance(output, dict) and isinstance(output.get("name"), str) for output in outputs
    ):
        raise Refused(400, "outputs is not a list of objects with a name")
    names = [output["name"] for output in outputs]
    if len(set(names)) != len(names):  # a small request could ask for an endless answer
        raise Refused(400, "outputs names an output twice")
    parameters = {
        output["name"]: _parameters(output["parameters"], f"output {output['name'][:80]!r}")
        for output in outputs
        if "parameters" in output
    }
    return names, parameters
