"""Messages that come in: well-formed and of the types that their fields have, or refused.

The SDK's classes take what they are given: a number where a message belongs stays a number, and breaks the code that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import betterproto

from chandlery.embedded.pachd.store.failure import ServiceError, internal, invalid

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


def as_sent(message: Any, parse_sent: Callable[[bytes], Any]) -> Any:
    """Return a message that has not been serialised, as a server would have received it.

    A message whose fields all hold what they should comes back as it is, at the cost of a few microseconds. Any other
    one takes the way over the wire, which decides what is refused, what is left out and what is converted.

    Args:
        message: what a client gave.
        parse_sent: reads the message from its bytes.

    Raises:
        ServiceError: INTERNAL in grpc's words when it cannot be serialised, which the SDK turns into a TypeError;
            INVALID_ARGUMENT when its bytes are not such a message.
    """
    if _is_our_own(message) or (isinstance(message, betterproto.Message) and _is_plain(message)):
        return message
    try:
        data = bytes(message)
    except Exception as error:  # whatever the SDK's writer stumbles over
        raise internal("Exception serializing request!") from error
    return parse_sent(data)


def _is_our_own(message: Any) -> bool:
    """Return whether a message is of a class of this package, which is made and serialised by hand."""
    return type(message).__module__.partition(".")[0] == "chandlery"


_SINGLE = {"string": str, "bytes": bytes, "bool": bool}
_MAX_PLAIN = 1 << 31  # every integer type holds what is below


class _Field(NamedTuple):
    """What a field that is set holds: a Python type (`int` for every number), once or in a list, perhaps None."""

    type: type
    repeated: bool
    optional: bool


@lru_cache(maxsize=256)
def _plain_fields(kind: Any) -> dict[str, _Field]:
    about = kind()._betterproto
    found = {}
    for name, meta in about.meta_by_field_name.items():
        if meta.proto_type == "map" or meta.wraps not in (None, "bytes"):
            continue  # rare: left to the wire
        type_ = bytes if meta.wraps else _SINGLE.get(meta.proto_type, int)
        if meta.proto_type == "message" and not meta.wraps:
            type_ = about.cls_by_field[name]
        default = about.default_gen[name]()
        found[name] = _Field(type_, isinstance(default, list), default is None)
    return found


def _is_plain(message: betterproto.Message) -> bool:
    """Return whether every field that is set holds a value of exactly the type that the wire would give it."""
    cls: Any = type(message)
    known = _plain_fields(cls)
    for name, value in message.__dict__.items():
        if value is betterproto.PLACEHOLDER or name[0] == "_":
            continue
        field = known.get(name)
        if field is None or (field.repeated and type(value) is not list):
            return False
        if value is None and field.optional:
            continue
        for item in value if field.repeated else (value,):
            if not _is_plain_value(item, field.type):
                return False
    return True


def _is_plain_value(item: Any, wanted: Any) -> bool:
    if type(item) is not wanted and not (wanted is int and isinstance(item, betterproto.Enum)):
        return False
    if wanted is int:
        return bool(0 <= item < _MAX_PLAIN)
    if wanted is str:
        return bool(item.isascii())  # a lone surrogate cannot be sent
    return not isinstance(item, betterproto.Message) or _is_plain(item)


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
