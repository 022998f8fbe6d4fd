"""Tensors as raw bytes: the binary tensor extension of the Open Inference Protocol.

Numbers are little-endian and in C order; a text has four bytes with its length before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from chandlery.inference.refusal import Refused

# The protocol's type -> numpy's. BF16, which numpy does not have, is the upper half of a float32.
RAW_TYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("uint8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
}


def read_raw(raw: memoryview, datatype: str, shape: Sequence[int], what: str) -> np.ndarray:
    """Return the tensor that raw bytes hold.

    Args:
        raw: its bytes, all of them.
        datatype: one of `RAW_TYPES`, or BYTES.
        shape: its shape, non-negative.
        what: name of the tensor in errors.

    Returns:
        an array of that shape: a view of the bytes where their type is numpy's own, objects for BYTES.

    Raises:
        Refused: too many or too few bytes for the shape, or a text that is not UTF-8.
    """
    count = math.prod(shape)
    if datatype == "BYTES":
        return _texts(raw, count, what).reshape(shape)
    dtype = RAW_TYPES[datatype]
    if len(raw) != count * dtype.itemsize:
        raise Refused(
            400,
            f"{what} has {len(raw)} bytes; {datatype} of shape {list(shape)} has {count * dtype.itemsize}",
        )
    array = np.frombuffer(raw, dtype).reshape(shape)
    if datatype == "BOOL":
        return array.astype(bool)
    if datatype == "BF16":
        return (array.astype("uint32") << 16).view("float32")
    return array


def write_raw(values: np.ndarray) -> bytes:
    """Return the raw bytes of a tensor of numbers, booleans or texts."""
    if values.dtype.kind not in "UOS":
        return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    parts: list[bytes] = []
    for text in encoded(values):
        parts += (len(text).to_bytes(4, "little"), text)
    return b"".join(parts)


def encoded(values: np.ndarray) -> Iterator[bytes]:
    """Yield texts in C order, each in UTF-8; what cannot be written so becomes a question mark."""
    for value in values.ravel().tolist():
        yield value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def _texts(raw: memoryview, count: int, what: str) -> np.ndarray:
    # Before anything is made: a shape may say any number.
    if 4 * count > len(raw):
        raise Refused(400, f"{what} has {len(raw)} bytes, too few for {count} texts with their lengths")
    texts = np.empty(count, dtype=object)
    position = 0
    for index in range(count):
        start = position + 4
        position = start + int.from_bytes(raw[position:start], "little")
        if position > len(raw):
            raise Refused(400, f"{what}: text {index} is longer than what is left of its bytes")
        try:
            texts[index] = str(raw[start:position], "utf-8")
        except UnicodeDecodeError as error:
            raise Refused(400, f"{what}: text {index} is not UTF-8: {error.reason}") from error
    if position != len(raw):
        raise Refused(400, f"{what} has {len(raw) - position} bytes after its {count} texts")
    return texts
