"""The operations of a ModifyFile stream, from either face.

In process they come as the SDK's messages. Off the wire they are read here by hand: a message carries up to
19 MiB of content, and this way it is sliced out, not copied and not turned into a message object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import betterproto
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd.rpc.parsing import fields, parse
from chandlery.embedded.pachd.store.failure import invalid


@dataclass(frozen=True, slots=True)
class SetCommit:
    """Which commit the stream is for; `commit` is the SDK's message."""

    commit: Any


@dataclass(frozen=True, slots=True)
class Add:
    """Append `data` to the file at `path`."""

    path: str
    datum: str
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class AddUrl:
    """Append what `url` gives to the file at `path`."""

    path: str
    datum: str
    url: str
    recursive: bool


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the file at `path`, or everything below it when it ends with a slash."""

    path: str
    datum: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy a file or directory; `source` is the SDK's `File` message."""

    target: str
    datum: str
    source: Any
    append: bool


Operation = SetCommit | Add | AddUrl | Delete | Copy


def from_message(message: Any) -> Operation:
    """Return the operation of a `ModifyFileRequest`; one read off the wire already is given back.

    Raises:
        ServiceError: INVALID_ARGUMENT when the message has none.
    """
    if isinstance(message, SetCommit | Add | AddUrl | Delete | Copy):
        return message
    kind, body = betterproto.which_one_of(message, "body")
    if kind == "set_commit":
        return SetCommit(body)
    if kind == "add_file":
        source, value = betterproto.which_one_of(body, "source")
        if source == "url":
            return AddUrl(body.path, body.datum, value.url, value.recursive)
        return Add(body.path, body.datum, value or b"")
    if kind == "delete_file":
        return Delete(body.path, body.datum)
    if kind == "copy_file":
        return Copy(body.dst, body.datum, body.src, body.append)
    raise invalid("a message must have one of set_commit, add_file, delete_file and copy_file")


def from_wire(data: bytes) -> Operation:
    """Return the operation of a serialised `ModifyFileRequest`.

    Raises:
        ServiceError: INVALID_ARGUMENT when it is malformed or has none.
    """
    view = memoryview(data)
    for number, value in fields(view):
        if number == 2 and isinstance(value, memoryview):
            try:
                added = _added(value)
            except UnicodeDecodeError as error:
                raise invalid(f"malformed message: {error}") from error
            if added:
                return added
    return from_message(parse(pfs.ModifyFileRequest, data))


def _added(view: memoryview) -> Add | None:
    path, datum, raw = "", "", memoryview(b"")
    for number, value in fields(view):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            path = str(value, "utf-8")
        elif number == 2:
            datum = str(value, "utf-8")
        elif number == 3:  # google.protobuf.BytesValue: an empty one has no field
            raw = next(
                (inner for at, inner in fields(value) if at == 1 and isinstance(inner, memoryview)), raw
            )
        else:
            return None
    return Add(path, datum, raw)
