"""Compressed bodies: gzip and deflate, in requests and in answers, neither larger than what a plain body may be."""

from __future__ import annotations

import asyncio
import re
import zlib

from chandlery.inference.refusal import Refused

WORTHWHILE = 8 * 1024  # bytes: packing a smaller answer takes longer than sending it
IN_THREAD = 128 * 1024  # bytes, packed or to be packed: the event loop would stand still for milliseconds
LEVEL = 1  # each further level costs much time and saves little of JSON

_AUTO, _RAW, _GZIP, _ZLIB = 47, -15, 31, 15  # zlib's numbers for the container around the data
ENCODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}
_REFUSED = re.compile(r"q=0(\.0*)?")  # how a caller says that it does not take an encoding
VARY = (b"vary", b"accept-encoding")


def check_encoding(encoding: str) -> bool:
    """Return whether a body with this `content-encoding` is packed.

    Raises:
        Refused: by something else than gzip or deflate (415).
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return False
    if encoding not in ENCODINGS:
        raise Refused(
            415, f"content-encoding {encoding[:40]!r} is not supported; send gzip, deflate or identity"
        )
    return True


async def unpack(body: bytes, limit: int) -> bytes:
    """Return a packed body as it was.

    Args:
        body: gzip, zlib or bare deflate.
        limit: most bytes that come out; no more is ever made, whatever goes in.

    Raises:
        Refused: more comes out (413), or it is not packed so or not whole (400).
    """
    if len(body) > IN_THREAD:
        return await asyncio.to_thread(_unpack, body, limit)
    return _unpack(body, limit)


async def pack(body: bytes, accepted: str) -> tuple[bytes, str]:
    """Pack the body of an answer where the caller takes it and it gets smaller.

    Args:
        body: the answer.
        accepted: the request's `accept-encoding`.

    Returns:
        the body to send and its `content-encoding`; empty when it is sent as it is.
    """
    encoding = choose(accepted)
    if not encoding:
        return body, ""
    packed = (
        await asyncio.to_thread(_pack, body, encoding) if len(body) > IN_THREAD else _pack(body, encoding)
    )
    return (packed, encoding) if len(packed) < 0.9 * len(body) else (body, "")


def choose(accepted: str) -> str:
    """Return the encoding to use of those that an `accept-encoding` names: gzip, deflate or none."""
    known: dict[str, bool] = {}
    for part in accepted.lower().split(",", 16)[:16]:
        name, _, quality = part.partition(";")
        known[name.strip()] = _REFUSED.fullmatch(quality.replace(" ", "")) is None
    everything = known.get("*", False)
    return next((name for name in ("gzip", "deflate") if known.get(name, everything)), "")


def _unpack(body: bytes, limit: int) -> bytes:
    # Some send "deflate" without zlib's header, which the standard asks for.
    for container in (_AUTO, _RAW):
        unpacker = zlib.decompressobj(container)
        try:
            plain = unpacker.decompress(body, limit + 1)
        except zlib.error as error:
            if container == _RAW:
                raise Refused(400, f"the body is not what its content-encoding says: {error}") from error
            continue
        if len(plain) > limit:
            raise Refused(
                413, f"the body is larger than {limit} bytes unpacked; send fewer rows a request", "TOO_LARGE"
            )
        if not unpacker.eof or unpacker.unused_data:
            raise Refused(400, "the compressed body is not whole, or something follows it")
        return plain
    raise AssertionError("unreachable: the last container either answers or raises")


def _pack(body: bytes, encoding: str) -> bytes:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, ENCODINGS[encoding])
    return packer.compress(body) + packer.flush()
