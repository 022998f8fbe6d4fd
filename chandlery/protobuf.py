"""Protobuf by hand, for the few messages that come in thousands or in megabytes.

The SDK's message classes take about a millisecond to serialise one; these take microseconds.
"""

from __future__ import annotations


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
    return b"".join((varint(number << 3 | 2), varint(len(data)), data))
