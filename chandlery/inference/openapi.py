"""The OpenAPI document of a deployment, made from the recipe's schema, with a row that the model answers as the example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from chandlery.example import listed
from chandlery.inference.model import DATATYPES, ChandleryModel
from chandlery.recipe import Column, Columns

LONGEST_EXAMPLE = 4096  # values of a row; the example of a larger one is left out


def document(model: ChandleryModel, example: Columns) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of one model.

    Args:
        model: a loaded model.
        example: one row, arrays (1, ...) by column name.
    """
    columns = model.recipe.inputs()
    name_in_path = quote(model.name, safe="")
    if sum(array.size for array in example.values()) > LONGEST_EXAMPLE:
        example = {}
    by_name = {name: listed(array) for name, array in example.items()}
    record = {name: values[0] for name, values in by_name.items()}
    tensors = [
        {
            "name": column.name,
            "datatype": "FP64" if column.nullable and "int" in column.dtype else DATATYPES[column.dtype],
            "shape": [1, *column.shape],
            "data": by_name[column.name],
        }
        for column in columns
        if column.name in by_name
    ]
    row = {"$ref": "#/components/schemas/Row"}
    split = {"columns": list(record), "data": [list(record.values())]}
    answers = {
        "type": "object",
        "properties": {"predictions": {"type": "array", "items": {"$ref": "#/components/schemas/Answer"}}},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": model.name,
            "version": model.version,
            "description": f"Predictions of the model {model.name}, version {model.version} ({model.manifest.task}).",
        },
        "servers": [{"url": "."}],
        "paths": {
            "/invocations": _post(
                "Rows as a list of objects, as a dataframe",
                {
                    "type": "object",
                    "oneOf": [
                        {"required": ["dataframe_records"]},
                        {"required": ["dataframe_split"]},
                        {"required": ["inputs"]},
                        {"required": ["instances"]},
                    ],
                    "properties": {
                        "dataframe_records": {"type": "array", "items": row},
                        "dataframe_split": {"type": "object"},
                        "inputs": {},
                        "instances": {"type": "array"},
                    },
                },
                {"records": {"dataframe_records": [record]}, "split": {"dataframe_split": split}}
                if record
                else {},
                answers,
            ),
            f"/v2/models/{name_in_path}/infer": _post(
                "The Open Inference Protocol",
                {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
                        "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
                        "id": {"type": "string"},
                        "parameters": {"type": "object"},
                    },
                },
                {"row": {"inputs": tensors}} if record else {},
                {"type": "object"},
            ),
            "/api/v1.0/predictions": _post(
                "Seldon's protocol",
                {"type": "object", "properties": {"data": {"type": "object"}, "jsonData": {}}},
                {"records": {"jsonData": [record]}, "columns": {"jsonData": by_name}} if record else {},
                {"type": "object"},
            ),
            f"/v2/models/{name_in_path}": _get("Inputs and outputs of the model"),
            "/v2/health/ready": _get("Whether the server takes requests"),
        },
        "components": {
            "schemas": {
                "Row": _object(columns),
                "Answer": {
                    "type": "object",
                    "properties": {
                        name: _array(_kind(kind), shape)
                        for name, (kind, shape) in model.answer_columns.items()
                    },
                },
                "Tensor": {
                    "type": "object",
                    "required": ["name", "datatype", "shape"],
                    "properties": {
                        "name": {"type": "string"},
                        "datatype": {"enum": [*dict.fromkeys(DATATYPES.values()), "BF16"]},
                        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                        "data": {"type": "array"},
                        "parameters": {"type": "object"},
                    },
                },
            }
        },
    }


def _object(columns: Sequence[Column]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [column.name for column in columns],
        "additionalProperties": False,
        "properties": {column.name: _schema(column) for column in columns},
    }


def _schema(column: Column) -> dict[str, Any]:
    value = _kind(column.dtype)
    if column.minimum is not None:
        value["minimum"] = column.minimum
    if column.maximum is not None:
        value["maximum"] = column.maximum
    if column.allowed:
        value["enum"] = [*column.allowed, *([None] if column.nullable else [])]
    if column.nullable:
        value["type"] = [value["type"], "null"]
    schema = _array(value, column.shape)
    if column.description:
        schema["description"] = column.description
    return schema


def _kind(dtype: str) -> dict[str, Any]:
    names = {"str": "string", "bool": "boolean"}
    return {"type": names.get(dtype) or ("integer" if "int" in dtype else "number")}


def _array(value: dict[str, Any], shape: Sequence[int]) -> dict[str, Any]:
    for size in reversed(shape):
        value = {"type": "array", "items": value, "minItems": size, "maxItems": size}
    return value


def _post(
    summary: str, schema: dict[str, Any], examples: dict[str, Any], answer: dict[str, Any]
) -> dict[str, Any]:
    body: dict[str, Any] = {"schema": schema}
    if examples:
        body["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": body}},
            "responses": {
                "200": {
                    "description": "The predictions",
                    "content": {"application/json": {"schema": answer}},
                },
                "400": {"description": "The request does not fit; the message says what was expected"},
            },
        }
    }


def _get(summary: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": {"200": {"description": "As asked"}}}}
