"""One HTTP request and its answer over ASGI, bare: for a small network a framework's objects take longer than the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from chandlery.inference.refusal import Refused

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

DISCARDED = 128 * 1024 * 1024  # bytes of a refused body that are read and dropped at most

Header = tuple[bytes, bytes]
_GRPC_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


@dataclass(frozen=True, slots=True)
class Content:
    """The body of an answer that is not JSON alone.

    Attributes:
        body: its bytes.
        kind: its content type.
        headers: further headers.
    """

    body: bytes
    kind: bytes
    headers: tuple[Header, ...] = ()


class Exchange:
    """A request that waits for its answer.

    Args:
        scope: ASGI scope of an HTTP request, its `path_params` filled in.
        receive: ASGI's receive.
        send: ASGI's send.

    Attributes:
        method: HTTP method, upper case.
        path: path, without the query.
        parameters: the route's parameters.
        headers: first value of each header by its name in lower case.
    """

    __slots__ = ("_peer", "_query", "_receive", "_send", "headers", "method", "parameters", "path")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.parameters: dict[str, str] = scope["path_params"]
        self.headers: dict[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])
        }
        self._peer: Any = scope.get("client")
        self._query: bytes = scope["query_string"]
        self._receive = receive
        self._send = send

    def caller(self) -> str:
        """Return who asks, for fairness and nothing else: the address that the nearest proxy saw, or else the peer's."""
        forwarded = self.headers.get("x-forwarded-for")
        if forwarded:
            return forwarded.rpartition(",")[2].strip()[:64]
        return self._peer[0] if self._peer else ""

    def seconds_left(self) -> float:
        """Return the seconds in which the caller wants its answer, as gRPC or Envoy tell it; infinite where none does."""
        seconds = math.inf
        timeout = self.headers.get("grpc-timeout")
        if timeout and timeout[-1] in _GRPC_UNITS and timeout[:-1].isdigit() and len(timeout) <= 9:
            seconds = int(timeout[:-1]) * _GRPC_UNITS[timeout[-1]]
        expected = self.headers.get("x-envoy-expected-rq-timeout-ms")
        if expected and expected.isdigit() and len(expected) <= 12:
            seconds = min(seconds, int(expected) / 1000)
        return seconds

    def query(self, name: str) -> str:
        """Return the first value of a parameter of the query; empty when there is none."""
        found = parse_qs(self._query.decode("latin-1"), max_num_fields=16) if self._query else {}
        return found.get(name, [""])[0]

    async def body(self, limit: int) -> bytes:
        """Return the body.

        Args:
            limit: largest body in bytes.

        Raises:
            Refused: it is larger (413), or the client went away (400).
        """
        announced = self.headers.get("content-length", "0")
        refused = announced.isdigit() and int(announced) > limit
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await self._receive()
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
            raise Refused(
                413, f"the body is larger than {limit} bytes; send fewer rows a request", "TOO_LARGE"
            )
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def answer(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """Send the answer.

        Args:
            status: HTTP status.
            headers: all but the length.
            body: what goes after them.
        """
        length = (b"content-length", b"%d" % len(body))
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await self._send({"type": "http.response.body", "body": body})
