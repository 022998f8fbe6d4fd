"""The search space: the recipe's parameters, Katib's form of them, and the typed values that come back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chandlery.errors import InvalidDocumentError
from chandlery.recipe import Parameter, Value

TYPES = ("double", "int", "discrete", "categorical")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Dimension:
    """One parameter of an Experiment, checked.

    Attributes:
        name: its name.
        type: `double`, `int`, `discrete` or `categorical`.
        minimum: lower bound; 0 for discrete and categorical.
        maximum: upper bound, inclusive; 0 for discrete and categorical.
        step: distance of grid points; 0 for none.
        values: the choices as the document has them; empty for double and int.
        log: searched on a logarithmic scale.
    """

    name: str
    type: str
    minimum: float = 0.0
    maximum: float = 0.0
    step: float = 0.0
    values: tuple[str, ...] = ()
    log: bool = False

    def value(self, text: str) -> Value:
        """Return an assignment's text as the value that it stands for."""
        if self.type == "categorical":
            return text
        number = float(text)
        whole = self.type == "int" or (self.type == "discrete" and re.fullmatch(r"[-+]?\d+", text))
        return int(number) if whole else number

    def points(self) -> int:
        """Return how many points a grid has along it; both bounds count where the step meets them."""
        if self.values:
            return len(self.values)
        # The small allowance keeps 0.1 * 3 inside of 0.3.
        return int((self.maximum - self.minimum) / (self.step or 1.0) + 1e-9) + 1


def grid_size(space: Iterable[Dimension]) -> int:
    """Return the number of points of a grid over the space."""
    return math.prod(dimension.points() for dimension in space)


def to_katib(parameters: Sequence[Parameter]) -> list[dict[str, Any]]:
    """Return a recipe's search space as `spec.parameters` of an Experiment.

    Raises:
        InvalidDocumentError: it is empty, or a parameter has impossible bounds, a bad step or no values.
    """
    return [_to_katib(parameter) for parameter in parameters]


def dimensions(parameters: Iterable[Mapping[str, Any]]) -> tuple[Dimension, ...]:
    """Read and check `spec.parameters` of an Experiment.

    Raises:
        InvalidDocumentError: there are none, or one is not valid; the message names it and the reason.
    """
    found = tuple(_dimension(parameter) for parameter in parameters)
    if not found:
        raise InvalidDocumentError(
            "the search space is empty", "give the recipe a search_space of at least one Parameter"
        )
    names = [dimension.name for dimension in found]
    for name in names:
        if names.count(name) > 1:
            raise InvalidDocumentError(
                f"parameter {name!r} is there twice", "names in a search space are unique"
            )
    return found


def _to_katib(parameter: Parameter) -> dict[str, Any]:
    space: dict[str, Any] = {}
    if parameter.type in ("discrete", "categorical"):
        space["list"] = [_text(value) for value in parameter.values]
    else:
        number = _whole if parameter.type == "int" else _decimal
        for key, value in (("min", parameter.minimum), ("max", parameter.maximum), ("step", parameter.step)):
            if value is not None:
                space[key] = number(value)
    if parameter.log:
        space["distribution"] = "logUniform"
    return {"name": parameter.name, "parameterType": parameter.type, "feasibleSpace": space}


def _text(value: Value) -> str:
    return value if isinstance(value, str) else repr(value)


def _decimal(value: float) -> str:
    return repr(float(value))


def _whole(value: float) -> str:
    # A fraction stays as it is, for the check to find.
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _dimension(parameter: Mapping[str, Any]) -> Dimension:
    name = parameter.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidDocumentError(
            f"parameter name {name!r} is not valid",
            "use letters, digits, '_' and '-', beginning with a letter",
        )
    type_ = parameter.get("parameterType")
    if type_ not in TYPES:
        raise InvalidDocumentError(
            f"parameter {name!r}: unknown type {type_!r}", f"valid: {', '.join(TYPES)}"
        )
    space = parameter.get("feasibleSpace") or {}
    if type_ in ("discrete", "categorical"):
        return _choice(name, type_, space)
    return _range(name, type_, space)


def _choice(name: str, type_: str, space: Mapping[str, Any]) -> Dimension:
    values = tuple(str(value) for value in space.get("list") or ())
    if not values:
        raise InvalidDocumentError(
            f"parameter {name!r} has no values to choose from", "list at least one value"
        )
    if len(set(values)) != len(values):
        raise InvalidDocumentError(f"parameter {name!r} lists a value twice", "list each value once")
    if any(key in space for key in ("min", "max", "step")):
        raise InvalidDocumentError(
            f"parameter {name!r}: min, max and step are not for {type_}", "use values alone"
        )
    if type_ == "discrete":
        for value in values:
            _number(name, "value", value)
    _distribution(name, type_, space)
    return Dimension(name, type_, values=values)


def _range(name: str, type_: str, space: Mapping[str, Any]) -> Dimension:
    if space.get("list"):
        raise InvalidDocumentError(
            f"parameter {name!r}: a list is not for {type_}", "use discrete or categorical"
        )
    for key in ("min", "max"):
        if key not in space:
            raise InvalidDocumentError(f"parameter {name!r} has no {key}", "double and int need both bounds")
    low, high = _number(name, "min", space["min"]), _number(name, "max", space["max"])
    step = _number(name, "step", space["step"]) if "step" in space else 0.0
    if low > high:
        raise InvalidDocumentError(f"parameter {name!r}: min {low:g} > max {high:g}", "exchange them")
    if "step" in space and not 0 < step <= max(high - low, math.ulp(0.0)):
        raise InvalidDocumentError(
            f"parameter {name!r}: step {step:g} does not fit between {low:g} and {high:g}",
            "use a positive step that is no larger than max - min",
        )
    if type_ == "int" and not all(number.is_integer() for number in (low, high, step)):
        raise InvalidDocumentError(
            f"parameter {name!r}: an int needs whole min, max and step", "use type double"
        )
    log = _distribution(name, type_, space)
    if log and low <= 0:
        raise InvalidDocumentError(f"parameter {name!r}: min {low:g} has no logarithm", "use a positive min")
    if log and step:
        raise InvalidDocumentError(
            f"parameter {name!r}: a step on a logarithmic scale", "leave out one of them"
        )
    return Dimension(name, type_, low, high, step, log=log)


def _distribution(name: str, type_: str, space: Mapping[str, Any]) -> bool:
    distribution = space.get("distribution", "uniform")
    valid = ("uniform", "logUniform") if type_ == "double" else ("uniform",)
    if distribution not in valid:
        raise InvalidDocumentError(
            f"parameter {name!r}: distribution {distribution!r} is not for {type_}",
            f"valid: {', '.join(valid)}",
        )
    return bool(distribution == "logUniform")


def _number(name: str, what: str, text: object) -> float:
    try:
        number = float(str(text)) + 0.0  # -0.0 is 0.0 here: no library draws from [0.0, -0.0]
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidDocumentError(
            f"parameter {name!r}: {what} {text!r} is not a number", "use a finite number"
        )
    return number
