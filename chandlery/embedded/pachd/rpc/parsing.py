"""Messages off the wire: well-formed and of the types that their fields have, or refused.

The SDK's classes take what they are given: a number where a message belongs stays a number, and breaks the code that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import betterproto

from chandlery.embedded.pachd.store.failure import ServiceError, invalid

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_TYPES: dict[str, Any] = {
    "string": str,
    "bytes": bytes,
    "message": betterproto.Message | datetime | timedelta,
}


def parse(kind: Any, data: bytes) -> Any:
    """Return a message of one of the SDK's classes.

    Raises:
        ServiceError: INVALID_ARGUMENT when the bytes are not such a message.
    """
    try:
        for _ in fields(memoryview(data)):
            pass  # the SDK takes a message that is cut short for a shorter one
        message = kind().parse(data)
        _check(message)
        # Lazily read as it is, a text or time that cannot be would break its reader.
        bytes(message)
    except ServiceError:
        raise
    except Exception as error:  # whatever the SDK's reader stumbles over
        raise invalid(f"malformed message: {type(error).__name__}: {error}") from error
    return message


def _check(message: Any) -> None:
    for name, meta in message._betterproto.meta_by_field_name.items():
        value = object.__getattribute__(message, name)
        if value is betterproto.PLACEHOLDER:
            continue  # not set; to ask for it would make it, and some messages hold their own kind
        default = message._betterproto.default_gen[name]()
        repeated = isinstance(default, list)
        if repeated and not isinstance(value, list):
            raise invalid(f"malformed message: {name} is not repeated")
        for item in value if repeated else [value]:
            if meta.wraps or meta.proto_type == "map" or (item is None and default is None):
                continue
            if not isinstance(item, _TYPES.get(meta.proto_type, int | float)):
                raise invalid(f"malformed message: {name} is {type(item).__name__}, not {meta.proto_type}")
            if isinstance(item, betterproto.Message):
                _check(item)


def fields(view: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield number and value of each field of a serialised message; a text or message within is not looked into.

    Raises:
        ServiceError: INVALID_ARGUMENT when it is malformed.
    """
    at = 0
    while at < len(view):
        key, at = _varint(view, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(view, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _varint(view, at)
        elif kind in _WIDTHS:
            length = _WIDTHS[kind]
        else:
            raise invalid(f"malformed message: wire type {kind}")
        if at + length > len(view):
            raise invalid("malformed message: it is cut short")
        yield number, view[at : at + length]
        at += length


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(view) and shift < 70:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise invalid("malformed message: a number is cut short")
