"""Reading a request's body: bounded while it streams, JSON or Seldon's `json=` form field."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request

from chandlery.server.refusal import Refused

DISCARDED = 128 * 1024 * 1024  # bytes of a refused body that are read and dropped at most


async def read_json(request: Request, limit: int) -> Any:
    """Return the parsed JSON of a request.

    Args:
        request: the request; a GET carries its document in the parameter `json`.
        limit: largest body in bytes.

    Raises:
        Refused: too large (413), compressed or multipart (415), not JSON (400).
    """
    if request.method == "GET":
        return _parse(request.query_params.get("json", "").encode())
    kind = request.headers.get("content-type", "")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "a compressed body is not supported; send it as it is")
    if kind.startswith("multipart/"):
        raise Refused(415, "multipart bodies are not supported; send application/json")
    body = await _read(request, limit)
    if kind.startswith("application/x-www-form-urlencoded"):
        # curl -d says that it sends a form even when it sends JSON.
        field = (
            parse_qs(body.decode("utf-8", "replace"), max_num_fields=16).get("json")
            if body[:1] != b"{"
            else None
        )
        return _parse(field[0].encode() if field else body)
    return _parse(body)


async def _read(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    refused = announced.isdigit() and int(announced) > limit
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the client went away before its body was complete")
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        refused = refused or size > limit
        if refused:
            # The rest is read and dropped: a client that is still sending does not look for an answer.
            chunks.clear()
            if size > DISCARDED:
                break
        else:
            chunks.append(chunk)
    if refused:
        raise Refused(413, f"the body is larger than {limit} bytes; send fewer rows a request", "TOO_LARGE")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _parse(text: bytes) -> Any:
    if not text:
        raise Refused(400, "the request has no JSON document")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"the request is not JSON: {error}") from error
