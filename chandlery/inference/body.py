"""Reading a request's document: JSON, Seldon's `json=` form field, or JSON with raw tensors behind it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import orjson

from chandlery.inference.compression import check_encoding, unpack
from chandlery.inference.exchange import Exchange
from chandlery.inference.refusal import Refused

HEADER_LENGTH = "inference-header-content-length"  # bytes of JSON before the raw tensors


async def read_json(exchange: Exchange, limit: int) -> Any:
    """Return the parsed JSON of a request.

    Args:
        exchange: the request; a GET carries its document in the parameter `json`.
        limit: largest body in bytes, packed and unpacked.

    Raises:
        Refused: of a web page of another site (403), too large (413), multipart or of an unknown encoding (415), not
            JSON (400).
    """
    if exchange.method in ("GET", "HEAD"):
        _refuse_other_sites(exchange)
        return _parse(exchange.query("json").encode())
    body = await read_body(exchange, limit)
    if exchange.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        # curl -d sends the content type of a form even with JSON.
        field = (
            parse_qs(body.decode("utf-8", "replace"), max_num_fields=16).get("json")
            if body[:1] != b"{"
            else None
        )
        return _parse(field[0].encode() if field else body)
    return _parse(body)


async def read_binary(exchange: Exchange, limit: int) -> tuple[Any, memoryview]:
    """Return the parsed JSON of a request in the binary form, and the raw tensors behind it.

    Args:
        exchange: the request, with the header `inference-header-content-length`.
        limit: largest body in bytes, packed and unpacked.

    Raises:
        Refused: as `read_json`, or the header is not a length within the body.
    """
    body = await read_body(exchange, limit)
    given = exchange.headers[HEADER_LENGTH].strip()
    # A number of more digits is beyond any body, and int() refuses very long ones.
    length = int(given) if given.isascii() and given.isdigit() and len(given) < 12 else -1
    if not 0 < length <= len(body):
        raise Refused(
            400,
            f"{HEADER_LENGTH} is {given[:20]!r}; expected the bytes of JSON at the start of a body of {len(body)}",
        )
    view = memoryview(body)
    return _parse(view[:length]), view[length:]


async def read_body(exchange: Exchange, limit: int) -> bytes:
    """Return the body of a request, unpacked.

    Args:
        exchange: the request.
        limit: largest body in bytes, packed and unpacked.

    Raises:
        Refused: of a web page of another site (403), too large (413), multipart or of an unknown encoding (415), packed
            badly (400).
    """
    _refuse_other_sites(exchange)
    headers = exchange.headers
    packed = "content-encoding" in headers and check_encoding(headers["content-encoding"])
    if headers.get("content-type", "").startswith("multipart/"):
        raise Refused(415, "multipart bodies are not supported; send application/json")
    body = await exchange.body(limit)
    return await unpack(body, limit) if packed else body


def _refuse_other_sites(exchange: Exchange) -> None:
    """Refuse what a browser sends for a page of another site.

    A page can send a GET and a POST of a form or of plain text to any address, without asking. For JSON the browser
    asks first, and this server never agrees. Clients that are not browsers send none of these headers.
    """
    headers = exchange.headers
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Refused(403, "a web page of another site may not send requests here")
    if "origin" in headers and not headers.get("content-type", "").startswith("application/json"):
        raise Refused(415, "a web page has to send application/json")


def _parse(text: bytes | memoryview) -> Any:
    if not text:
        raise Refused(400, "the request has no JSON document")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"the request is not JSON: {error}") from error
