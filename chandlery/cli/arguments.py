"""`-p key=value`: text to the types that a compiled package declares."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from chandlery.catalog import Input
from chandlery.errors import UserError


def for_dry_run(declared: list[Input], names: list[str]) -> list[Input]:
    """Return the inputs that a dry run takes: plain ones, and texts `names` for the values that artifacts would carry."""
    plain = [item for item in declared if not item.artifact]
    return plain + [Input(name, "STRING", False, True, "", "") for name in names]


def parse(pairs: list[str], declared: list[Input]) -> dict[str, Any]:
    """Return typed arguments.

    Args:
        pairs: `key=value` texts; lists and structures as JSON or YAML.
        declared: the package's inputs.

    Raises:
        UserError: a pair is malformed, names no input, has the wrong type, or a required input is missing.
    """
    artifacts = [item.name for item in declared if item.artifact and item.required]
    if artifacts:
        raise UserError(
            f"input {artifacts[0]!r} is an artifact: it comes from another step",
            "run a pipeline that produces it, such as train_and_deploy",
        )
    by_name = {item.name: item for item in declared if not item.artifact}
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UserError(f"-p {pair}: no '='", "write -p key=value")
        if name not in by_name:
            close = difflib.get_close_matches(name, by_name, n=1)
            known = f"did you mean {close[0]}?" if close else f"it takes {', '.join(by_name) or 'none'}"
            raise UserError(f"-p {pair}: no input named {name!r}", known)
        arguments[name] = _convert(by_name[name], text)
    missing = [item.name for item in by_name.values() if item.required and item.name not in arguments]
    if missing:
        raise UserError(f"missing: {', '.join(missing)}", f"add -p {missing[0]}=...")
    return arguments


def pin_recipes(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with each recipe's reference made absolute and pinned to its source's digest.

    Cached results are then of this very recipe, and a search trial in another folder finds it.
    """
    from chandlery.recipe import pin

    pinned = dict(arguments)
    for name, value in arguments.items():
        if (name == "recipe" or name.endswith("_recipe")) and value:
            target, colon, rest = str(value).partition(".py:")
            absolute = f"{Path(target + '.py').resolve()}:{rest}" if colon else str(value)
            pinned[name] = pin(absolute)
    return pinned


def _convert(declared: Input, text: str) -> Any:
    convert, what = CONVERTERS.get(declared.type, (str, "text"))
    try:
        return convert(text)
    except (TypeError, ValueError, yaml.YAMLError):
        raise UserError(
            f"-p {declared.name}={text}: not {what}", f"{declared.name} is {declared.type}"
        ) from None


def _boolean(text: str) -> bool:
    values = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in values:
        raise ValueError(text)
    return values[text.lower()]


def _structure(kind: type) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        value = yaml.safe_load(text)
        if not isinstance(value, kind):
            raise ValueError(text)
        json.dumps(value)  # YAML has dates and sets, JSON has not
        return value

    return convert


CONVERTERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "STRING": (str, "text"),
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": (float, "a number"),
    "BOOLEAN": (_boolean, "true or false"),
    "LIST": (_structure(list), "a list, such as [5, 25, 100]"),
    "STRUCT": (_structure(dict), "a structure, such as {units: 64}"),
}
