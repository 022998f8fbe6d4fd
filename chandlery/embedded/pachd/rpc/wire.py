"""The two answers that come in thousands or in megabytes, serialised by hand: FileInfo and BytesValue."""

from __future__ import annotations

from chandlery.embedded.pachd.store.tree import Node
from chandlery.protobuf import field, varint

_DIR, _FILE = b"\x10\x02", b"\x10\x01"
_DATUM = b"\x1a\x07default"


def bytes_value(data: bytes) -> bytes:
    """Return a serialised `google.protobuf.BytesValue`."""
    return b"".join((b"\x0a", varint(len(data)), data)) if data else b""


def timestamp(microseconds: int) -> bytes:
    """Return a serialised `google.protobuf.Timestamp`."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return (b"\x08" + varint(seconds) if seconds else b"") + (b"\x10" + varint(rest * 1000) if rest else b"")


def file_info(commit: bytes, committed: bytes, node: Node) -> bytes:
    """Return a serialised `FileInfo`.

    Args:
        commit: field 1 of `File`, the serialised commit with its tag and length.
        committed: field 3 of `FileInfo`, likewise.
        node: the file or directory.
    """
    directory = node.is_directory
    file = commit + field(2, node.path.encode()) + (b"" if directory else _DATUM)
    size = b"\x20" + varint(node.size) if node.size else b""
    return field(1, file) + (_DIR if directory else _FILE) + committed + size + field(5, node.digest)
