"""Protobuf by hand for the two answers that come in thousands or in megabytes: FileInfo and BytesValue.

The SDK's message classes take about a millisecond to serialise one; these take microseconds.
"""

from __future__ import annotations

from chandlery.embedded.pachd.tree import Node

_DIR, _FILE = b"\x10\x02", b"\x10\x01"
_DATUM = b"\x1a\x07default"


def varint(value: int) -> bytes:
    """Return an unsigned number as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, data: bytes) -> bytes:
    """Return a length-delimited field (bytes, string or message)."""
    return varint(number << 3 | 2) + varint(len(data)) + data


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
