"""The message of an upload that comes once for each file, made and serialised by hand.

The SDK's own takes tens of microseconds to make and a millisecond to serialise, which for thousands of small files is
more than reading them. This one is a `ModifyFileRequest` too, and passes through the SDK as any other does.
"""

from __future__ import annotations

from pachyderm_sdk.api import pfs

from chandlery.protobuf import field


class AddFile(pfs.ModifyFileRequest):  # type: ignore[misc]  # the SDK is untyped to us
    """Append bytes to a file.

    Args:
        path: the file, as Pachyderm names it.
        raw: what is appended.
    """

    _group_current = {"body": "add_file"}  # noqa: RUF012  # where betterproto looks for what a one-of holds

    # betterproto's own look at every attribute of every message.
    __getattribute__ = object.__getattribute__
    __setattr__ = object.__setattr__

    def __init__(self, path: str, raw: bytes) -> None:
        self.add_file = _Added(path, raw)

    def __bytes__(self) -> bytes:
        added = self.add_file
        raw = field(1, added.raw) if added.raw else b""
        return field(2, field(1, added.path.encode()) + field(3, raw))


class _Added:
    _group_current = {"source": "raw"}  # noqa: RUF012
    __slots__ = ("path", "raw")
    datum = ""

    def __init__(self, path: str, raw: bytes) -> None:
        self.path = path
        self.raw = raw
