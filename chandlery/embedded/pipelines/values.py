"""Parameter values as KFP has them: protobuf's Value, without a difference between whole and other numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from chandlery.errors import UserError

STRING, INTEGER, DOUBLE, BOOLEAN = "STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE", "BOOLEAN"
LIST, STRUCT = "LIST", "STRUCT"
OBJECTS = (STRUCT, "TASK_FINAL_STATUS", "TASK_CONFIG")

_EXACT = 2.0**53  # whole numbers up to here are written without a point


class WrongValueError(UserError):
    """A parameter has a value that its type does not take."""


def plain(value: Any) -> Any:
    """Return a value as it reads after a journey through protobuf's JSON: 2.0 is 2, tuples are lists, keys are texts."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() and abs(value) < _EXACT else value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def text_of(value: Any) -> str:
    """Return a value as a text, as the launcher puts it in the place of a placeholder."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        number = plain(value)
        return str(number) if isinstance(number, int) else _decimal(number)
    return json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False)


def value_of(text: str, kind: str, name: str) -> Any:
    """Read the text that a component left for an output parameter.

    Raises:
        WrongValueError: it is not of the parameter's type.
    """
    try:
        if kind == STRING:
            return text
        if kind == INTEGER:
            return int(text.strip(), 10)
        if kind == DOUBLE:
            return plain(float(text.strip()))
        if kind == BOOLEAN:
            return {"true": True, "false": False, "1": True, "0": False}[text.strip().lower()]
        found = json.loads(text)
        if isinstance(found, list if kind == LIST else dict):
            return found
    except (ValueError, KeyError) as error:
        raise WrongValueError(
            f"output {name}: {text[:100]!r} is no {kind}", "correct the component"
        ) from error
    raise WrongValueError(f"output {name}: {text[:100]!r} is no {kind}", "correct the component")


def typed(value: Any, kind: str, name: str) -> Any:
    """Return an input's value in its type: a text takes any value as its text, nothing else is converted.

    Raises:
        WrongValueError: the value is of another type.
    """
    if kind == STRING:
        return value if isinstance(value, str) else text_of(value)
    if value is None:
        raise WrongValueError(f"input {name} got no value (null)", f"give one of type {kind}")
    fits = (
        (kind == BOOLEAN and isinstance(value, bool))
        or (kind in (INTEGER, DOUBLE) and isinstance(value, int | float) and not isinstance(value, bool))
        or (kind == LIST and isinstance(value, list))
        or (kind in OBJECTS and isinstance(value, dict))
    )
    if not fits:
        raise WrongValueError(
            f"input {name} is {text_of(value)[:100]!r}, and not of type {kind}", f"give one of type {kind}"
        )
    return value


def checked_literal(value: Any, literals: list[Any], name: str) -> Any:
    """Return a value if it is among the literals that a component allows.

    Raises:
        WrongValueError: it is not.
    """
    if literals and plain(value) not in [plain(literal) for literal in literals]:
        allowed = ", ".join(map(text_of, literals))
        raise WrongValueError(f"input {name} is {text_of(value)[:100]!r}", f"give one of {allowed}")
    return value


def items_of(value: Any, name: str) -> list[Any]:
    """Return the items to loop over: a list, or the JSON text of one.

    Raises:
        WrongValueError: it is neither.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise WrongValueError(
                f"{name} is to be looped over, and is no list: {value[:100]!r}", "give a list"
            ) from error
    if not isinstance(value, list):
        raise WrongValueError(f"{name} is to be looped over, and is no list", "give a list")
    return value


def _decimal(number: float) -> str:
    """Return a number without an exponent, as Go's format 'f' with the fewest digits that read back."""
    return f"{Decimal(repr(number)):f}" if math.isfinite(number) else repr(number)
