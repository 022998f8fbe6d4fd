"""Conditions and selectors of a compiled pipeline, which are written in the Common Expression Language (CEL)."""

from __future__ import annotations

import json
import re
from typing import Any

from chandlery.embedded.pipelines.values import plain, text_of
from chandlery.errors import UserError

_FIELD = re.compile(r'^parseJson\(string_value\)\["((?:[^"\\]|\\.)*)"\]$')


class ExpressionError(UserError):
    """A condition or a selector cannot be evaluated."""


def holds(condition: str, parameters: dict[str, Any]) -> bool:
    """Return whether a task's condition holds for its inputs.

    Args:
        condition: CEL over `inputs.parameter_values`.
        parameters: the task's input parameters.

    Raises:
        ExpressionError: it cannot be evaluated, or gives something other than true or false.
    """
    found = _evaluate(condition, {"inputs": {"parameter_values": _numbers(parameters)}})
    if not isinstance(found, bool):
        raise ExpressionError(
            f"condition {condition!r} gives {found!r}", "compare: conditions are true or false"
        )
    return found


def select(value: Any, selector: str) -> Any:
    """Return what a selector finds in a value, which it sees as JSON text `string_value`.

    Raises:
        ExpressionError: it finds nothing.
    """
    simple = _FIELD.match(selector)
    text = text_of(value)
    if simple:  # what kfp compiles a field of a loop's item to; saves the import of a library
        try:
            return plain(json.loads(text)[json.loads(f'"{simple[1]}"')])
        except (ValueError, KeyError, TypeError) as error:
            raise ExpressionError(
                f"an item has no field {simple[1]!r}: {text[:100]}", "give every item of the loop that field"
            ) from error
    return plain(_evaluate(selector, {"string_value": text}))


def _evaluate(expression: str, variables: dict[str, Any]) -> Any:
    import cel

    context = cel.Context(variables)
    context.add_function("parseJson", json.loads)
    try:
        return cel.evaluate(expression, context)
    except Exception as error:  # the library has no class of its own for what it raises
        reason = " ".join(str(error).partition(". CEL does not")[0].split())
        raise ExpressionError(
            f"{expression!r} cannot be evaluated: {reason}", "compare values of the same type"
        ) from error


def _numbers(value: Any) -> Any:
    """Return a value with all its numbers as floats, as protobuf's Value has them."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return value
