"""Hyperparameters as they arrive (command line text, floats from KFP) turned into what a recipe declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chandlery.errors import UserError
from chandlery.recipe import Parameter, Recipe, Value

# Parameters that steer training itself. `patience`: epochs without a better objective after which training
# stops and goes back to the best epoch; 0 trains all epochs and keeps the last.
RESERVED: dict[str, int] = {"epochs": 10, "batch_size": 32, "patience": 0}


def complete(recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Value]:
    """Fill in the defaults and give each value its declared type.

    A search space decides the type first, then the type of the default. KFP hands every number in a dict over as
    a float, and a search trial gets text; both become the same value here, so the same model.

    Args:
        recipe: the recipe that the parameters are for.
        given: values by name; may be empty.

    Returns:
        all parameters, keys sorted.

    Raises:
        UserError: a name is unknown, or a value does not fit its type.
    """
    space = {dimension.name: dimension for dimension in recipe.search_space}
    defaults: dict[str, Value] = {**RESERVED, **recipe.defaults}
    known = sorted({*space, *defaults})
    values = dict(defaults)
    for name, value in given.items():
        if name not in known:
            raise UserError(
                f"{type(recipe).__name__} has no parameter {name!r}", f"known parameters: {', '.join(known)}"
            )
        values[name] = _typed(name, value, space.get(name), defaults.get(name))
    for name, smallest in (("epochs", 1), ("batch_size", 1), ("patience", 0)):
        values[name] = _integer(name, values[name])
        if int(values[name]) < smallest:
            raise UserError(f"parameter {name} is {values[name]}", f"use {smallest} or more")
    return dict(sorted(values.items()))


def parse(assignments: list[str]) -> dict[str, str]:
    """Split `name=value` texts.

    Raises:
        UserError: a text holds no `=`.
    """
    pairs = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"parameter {text!r} is not name=value", "for example --parameter units=64")
        pairs[name] = value
    return pairs


def _typed(name: str, value: Any, dimension: Parameter | None, default: Value | None) -> Value:
    if dimension is None:
        if isinstance(default, str) or default is None:
            return str(value)
        return _integer(name, value) if isinstance(default, int) else _number(name, value)
    if dimension.type == "int":
        return _integer(name, value)
    if dimension.type == "double":
        return _number(name, value)
    for choice in dimension.values:
        if str(choice) == str(value) or (not isinstance(choice, str) and _number(name, value) == choice):
            return choice
    raise UserError(
        f"parameter {name} is {value!r}", f"valid values: {', '.join(str(v) for v in dimension.values)}"
    )


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"parameter {name} is {value!r}", "it takes a number") from error


def _integer(name: str, value: Any) -> int:
    number = _number(name, value)
    if not number.is_integer():
        raise UserError(f"parameter {name} is {value!r}", "it takes a whole number")
    return int(number)
