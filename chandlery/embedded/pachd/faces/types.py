"""Are the values of a message of the types that its fields have? What serialising it would find out, without its cost.

betterproto's classes take any value. The wire refuses wrong ones; the in-process face hands messages over as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import betterproto

_NUMBERS = (
    "int32 int64 uint32 uint64 sint32 sint64 fixed32 fixed64 sfixed32 sfixed64 enum".split()  # noqa: SIM905
)
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "bytes": (bytes, bytearray, memoryview),
    "bool": (bool, int),
    "float": (int, float),
    "double": (int, float),
    **dict.fromkeys(_NUMBERS, (int,)),
}

Check = Callable[[Any], bool]
Fields = tuple[tuple[str, str, bool, Check], ...]

_KNOWN: dict[type, Fields] = {}


def check_types(message: Any) -> None:
    """Check the values of a message, and of the messages in it.

    Raises:
        TypeError: one has the wrong type, as serialising the message would raise.
    """
    if not isinstance(message, betterproto.Message):
        return
    values = message.__dict__
    for name, proto_type, repeated, fits in _fields(message):
        value = values.get(name)
        if value is None or value is betterproto.PLACEHOLDER:
            continue
        if isinstance(value, list) is not repeated:
            raise _wrong(message, name, value)
        for item in value if repeated else (value,):
            if isinstance(item, betterproto.Message):
                if proto_type != "message":
                    raise _wrong(message, name, item)
                check_types(item)
            elif isinstance(item, Mapping) and proto_type == "map":
                for key, entry in item.items():
                    if not isinstance(key, (str, int)):
                        raise _wrong(message, name, key)
                    if isinstance(entry, betterproto.Message):
                        check_types(entry)
            elif not fits(item):
                raise _wrong(message, name, item)


def _wrong(message: Any, name: str, value: object) -> TypeError:
    return TypeError(f"{type(message).__name__}.{name} cannot be {type(value).__name__}")


def _fields(message: betterproto.Message) -> Fields:
    """Return of each field of a message's class its name, its type, whether it is repeated, and its check."""
    cls = type(message)
    known = _KNOWN.get(cls)
    if known is None:
        made = message._betterproto.default_gen
        known = _KNOWN[cls] = tuple(
            (field.name, meta.proto_type, made[field.name] is list, _check_of(meta))
            for field in dataclasses.fields(message)
            if (meta := field.metadata.get("betterproto")) is not None
        )
    return known


def _check_of(meta: betterproto.FieldMetadata) -> Check:
    allowed = _TYPES.get(meta.wraps or meta.proto_type)
    if allowed is not None:
        return lambda value: isinstance(value, allowed)
    if meta.proto_type == "message":
        # Well-known types travel as Python's own: datetime, timedelta, wrapped values. A text is never one of them.
        return lambda value: not isinstance(value, (str, bytes, int, float, list))
    return lambda value: False  # a map that is no mapping
