"""Reading a request's document: JSON, or Seldon's `json=` form field."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import orjson

from chandlery.inference.exchange import Exchange
from chandlery.inference.refusal import Refused


async def read_json(exchange: Exchange, limit: int) -> Any:
    """Return the parsed JSON of a request.

    Args:
        exchange: the request; a GET carries its document in the parameter `json`.
        limit: largest body in bytes.

    Raises:
        Refused: of a web page of another site (403), too large (413), compressed or multipart (415), not JSON (400).
    """
    _refuse_other_sites(exchange)
    if exchange.method == "GET":
        return _parse(exchange.query("json").encode())
    kind = exchange.headers.get("content-type", "")
    if exchange.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "a compressed body is not supported; send it as it is")
    if kind.startswith("multipart/"):
        raise Refused(415, "multipart bodies are not supported; send application/json")
    body = await exchange.body(limit)
    if kind.startswith("application/x-www-form-urlencoded"):
        # curl -d sends the content type of a form even with JSON.
        field = (
            parse_qs(body.decode("utf-8", "replace"), max_num_fields=16).get("json")
            if body[:1] != b"{"
            else None
        )
        return _parse(field[0].encode() if field else body)
    return _parse(body)


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


def _parse(text: bytes) -> Any:
    if not text:
        raise Refused(400, "the request has no JSON document")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"the request is not JSON: {error}") from error
