"""The shape of a document: where maps, lists and texts stand, checked before anything reads what they hold.

The API server does this by a CRD's schema; here it is the part of it that our own rules look into. A shape is TEXT, SCALAR,
NUMBER or WHOLE, a list of one shape, or a map from field to shape, a name that ends in `!` being required. Fields that it
does not name may hold anything; the field `*` stands for every other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chandlery.errors import InvalidDocumentError

TEXT, SCALAR, NUMBER, WHOLE = "a text", "a text or a number", "a number", "a whole number"

DEEPEST = 64  # maps and lists within each other; real documents have about fifteen

Shape = Any
_TYPES: dict[str, Any] = {TEXT: str, SCALAR: str | int | float, NUMBER: int | float, WHOLE: int}


def check_shape(document: Any, shape: Shape) -> None:
    """Check that a document has maps, lists and texts where they belong, and is JSON.

    Raises:
        InvalidDocumentError: it has not; names the first field and what belongs there.
    """
    check_json(document)
    _check(document, shape, "")


def check_json(document: Any) -> str:
    """Return a document as JSON.

    Raises:
        InvalidDocumentError: it is none: too deep, with something that JSON has not, or with text that no process or file can hold.
    """
    _check_depth(document)
    try:
        text = json.dumps(document, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise InvalidDocumentError(
            f"the document is not plain JSON: {error}",
            "use maps with text keys, lists, texts, booleans and finite numbers",
        ) from error
    if "\\u0000" in text:
        raise InvalidDocumentError("the document has a text with a NUL character", "leave it out")
    return text


def _check_depth(document: Any) -> None:
    level = [document]
    for _ in range(DEEPEST):
        inner = [node.values() if isinstance(node, Mapping) else node for node in level if _holds(node)]
        level = [child for children in inner for child in children if _holds(child)]
        if not level:
            return
    raise InvalidDocumentError(
        f"the document is nested more than {DEEPEST} levels deep",
        "is it an Experiment or a SeldonDeployment?",
    )


def _holds(node: Any) -> bool:
    return isinstance(node, Mapping | list | tuple)


def _check(value: Any, shape: Shape, path: str) -> None:
    if isinstance(shape, dict):
        if not isinstance(value, Mapping):
            raise _wrong(path, value, "a map")
        _check_fields(value, shape, path)
    elif isinstance(shape, list):
        if not isinstance(value, list | tuple):
            raise _wrong(path, value, "a list")
        for index, item in enumerate(value):
            _check(item, shape[0], f"{path}[{index}]")
    elif not isinstance(value, _TYPES[shape]) or isinstance(value, bool):
        raise _wrong(path, value, shape)
    elif not isinstance(value, str) and abs(value) >= 2**63:
        raise _wrong(path, value, f"{shape} that fits into 64 bits")


def _check_fields(value: Mapping[str, Any], shape: dict[str, Shape], path: str) -> None:
    for name, inner in shape.items():
        if name == "*":
            known = {key.removesuffix("!") for key in shape}
            for key in value:
                if key not in known:
                    _check(value[key], inner, f"{path}.{key}")
            continue
        field = name.removesuffix("!")
        if field in value:
            _check(value[field], inner, f"{path}.{field}")
        elif name != field:
            raise InvalidDocumentError(f"{path.lstrip('.') or 'the document'} has no {field}", "give it one")


def _wrong(path: str, value: Any, expected: str) -> InvalidDocumentError:
    shown = "null" if value is None else repr(value)
    if len(shown) > 80:
        shown = shown[:80] + "..."
    hint = "leave it out, or give it one" if value is None else "see the examples in katib/ and seldon/"
    return InvalidDocumentError(f"{path.lstrip('.') or 'the document'} is {shown}, not {expected}", hint)
