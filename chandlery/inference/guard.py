"""Limits on connections, which uvicorn does not have: what one may send, hold and take, and for how long.

Nothing here keeps a timer for each request. The clock is read once a second, when all connections are looked at, so a limit
in seconds is one of a second more or less.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import math
import termios
from collections.abc import Callable
from typing import Any, ClassVar

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024  # of a request's line and headers; Envoy takes as much
HEADER_COST = (
    256  # bytes that a header counts beside its own: what its objects take here, so 250 headers at most
)
FRAMING = 8  # bytes received for each byte of a body in chunks: chunks of one byte have six
SLOWEST = 8 * 1024  # bytes a second, both ways, from which on a transfer may last longer
PIPELINED = 64  # requests of one connection that wait for an answer
LINGER_SECONDS = 2.0  # in which a refused client may read why
LINGER_BYTES = 1024 * 1024  # that it may still send in that time
EVICTED = (
    0.05  # of all connections that are closed when there are too many, so that they are seldom looked through
)

_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class Guard:
    """The limits of one process and what its connections hold together. All methods belong to one event loop.

    Args:
        most: connections at a time; beyond, idle ones are closed, and where none is idle the new one gets 503.
        most_held: bytes of bodies and of answers that wait, over all connections.
        most_body: bytes of one body that are kept; more is read and dropped.
        seconds: in which a request's headers, a body, and an answer have to be through; longer as `SLOWEST` allows.
        keep_alive: seconds that a connection may be idle between requests.
        observe: called with the reason of each refusal: slow, large, malformed, pipelined, memory or connections.
    """

    def __init__(
        self,
        most: int,
        most_held: int,
        most_body: int,
        seconds: float,
        keep_alive: float,
        observe: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.most = most
        self.most_held = most_held
        self.most_body = most_body
        self.seconds = seconds
        self.keep_alive = keep_alive
        self.observe = observe
        self.now = 0.0
        self.held = 0  # bytes of bodies
        self.leaving = 0  # connections that were told to close and have not yet
        self.connections: set[GuardedProtocol] = set()  # uvicorn's own
        self.blocked: set[GuardedProtocol] = set()  # those whose answers wait for the client

    def protocol(self) -> type[GuardedProtocol]:
        """Return the protocol for uvicorn's `http`, bound to these limits."""
        return type("Guarded", (GuardedProtocol,), {"guard": self})

    def sweep(self) -> None:
        """Read the clock and end what takes too long; call once a second."""
        self.now = asyncio.get_running_loop().time()
        for connection in list(self.connections):
            connection.check()

    def hold(self, connection: GuardedProtocol, size: int) -> None:
        """Count bytes that a connection holds; where all hold too many, refuse the largest that is not complete."""
        connection.held += size
        self.held += size
        while self.held > self.most_held:
            partial = [one for one in self.connections if one.partial and one.held]
            victim = max(partial, key=lambda one: one.held, default=connection)
            freed = victim.held
            victim.refuse(503, "the server holds too many requests already", "memory", retry_after=1)
            if victim is connection or not freed:
                return

    def block(self, connection: GuardedProtocol) -> None:
        """Note that an answer waits for its client; where too much waits, drop the largest."""
        self.blocked.add(connection)
        sizes = {one: one.transport.get_write_buffer_size() for one in self.blocked}
        total = sum(sizes.values())
        while total > self.most_held:
            largest = max(sizes, key=lambda one: sizes[one])
            total -= sizes.pop(largest)
            largest.drop("memory")

    def admit(self, connection: GuardedProtocol) -> None:
        """Make room for a new connection, or refuse it."""
        idle = sorted(
            (one for one in self.connections if one is not connection and one.idle()),
            key=lambda one: (one.cycle is not None, one.since),  # first those that never asked
        )
        for one in idle[: max(1, int(self.most * EVICTED))]:
            one.leave()
            self.observe("connections")
        if not idle:
            connection.refuse(503, f"{self.most} connections are busy", "connections", retry_after=1)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits.

    Attributes:
        guard: the limits.
        since: when the present wait began: for a request, its end, or the next one.
        partial: a request has begun and is not complete.
        held: bytes that count as held.
    """

    guard: ClassVar[Guard]

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.since = self.guard.now
        self.partial = False
        self.held = 0
        self._in_head = False
        self._room = HEAD_BYTES
        self._received = 0  # bytes of the present request, head and framing included
        self._body = 0  # of these, its body
        self._after_another = (
            False  # it began in data that held the end of another, so its bytes there are not known
        )
        self._completed = False  # a request was completed by the data that is being read
        self._why: tuple[int, str, str] | None = None  # what a callback of the parser refuses
        self._allowed = math.inf  # when the client has to have read its answer
        self._looked = False  # whether the kernel was asked for what the client has not read
        self._unread = 0  # bytes of the answer that wait
        self._moved = 0.0  # when they last became fewer
        self._leaving = False
        self._refused = False

    def connection_made(self, transport: Any) -> None:
        """Take a connection if there is room."""
        super().connection_made(transport)
        guard = self.guard
        guard.connections = self.connections  # type: ignore[assignment]
        self.since = guard.now
        if len(self.connections) - guard.leaving > guard.most:
            guard.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection and what it held."""
        self._release()
        self.guard.blocked.discard(self)
        if self._leaving:
            self._leaving = False
            self.guard.leaving -= 1
        self.pipeline.clear()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a connection whose client sends no more but waits for an answer."""
        waits = self.cycle is not None and not self.cycle.response_complete and not self.partial
        if waits:
            self.cycle.keep_alive = False  # the newest request's: the others are answered before it
        return waits

    def data_received(self, data: bytes) -> None:
        """Parse what came, and refuse what is too much of it."""
        self._completed = False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse_upgrade()
        except httptools.HttpParserError as error:
            why = self._why or (400, f"malformed HTTP: {error}", "malformed")
            self.refuse(*why)
            return
        if self.partial and not self._refused:
            if self._after_another:
                self._after_another = False
                return
            self._received += len(data)
            if self._in_head:
                if self._received > HEAD_BYTES:
                    self.refuse(*self._too_long())
                else:
                    self.guard.hold(self, len(data))
            elif self._received > HEAD_BYTES + FRAMING * self._body:
                self.refuse(400, "more framing than body: chunk extensions or trailers", "large")

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.partial = self._in_head = True
        self._looked = False
        self._room = HEAD_BYTES
        self._received = self._body = 0
        self._after_another = self._completed
        self.since = self.guard.now

    def on_url(self, url: bytes) -> None:
        """Keep a piece of the address."""
        self._room -= len(url)
        self.url += url
        if len(self.url) > HEAD_BYTES // 2:
            self._give_up(self._too_long())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; drop a trailer, which nobody may take for a header that a proxy has checked."""
        self._room -= len(name) + len(value) + HEADER_COST
        if self._room < 0:
            self._give_up(self._too_long())
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Have the request answered, or wait for its turn."""
        if len(self.pipeline) >= PIPELINED:
            self._give_up((400, "too many requests before the first answer", "pipelined"))
        self._in_head = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        size = len(body)
        self._body += size
        if self._body <= self.guard.most_body:  # further ones are dropped by who reads them
            self.guard.hold(self, size)
            if self._refused:
                return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self.partial = False
        self._completed = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request; instead of uvicorn's timer for idle connections there is the sweep."""
        self.server_state.total_requests += 1
        if self.held and not self.pipeline:
            self._release()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif not self.partial:
            self.since = self.guard.now

    def pause_writing(self) -> None:
        """Note that the client does not read as fast as it is answered."""
        super().pause_writing()
        self._unread, self._moved = self.transport.get_write_buffer_size(), self.guard.now
        self._allowed = self.guard.now + self.guard.seconds + self._unread / SLOWEST
        self.guard.block(self)

    def resume_writing(self) -> None:
        """Note that it has read."""
        super().resume_writing()
        self._allowed = math.inf
        self.guard.blocked.discard(self)

    def idle(self) -> bool:
        """Return whether nothing is asked or answered."""
        return not (self._leaving or self._refused or self.partial) and (
            self.cycle is None or (self.cycle.response_complete and not self.flow.write_paused)
        )

    def check(self) -> None:
        """End the connection if it took too long."""
        guard = self.guard
        age = guard.now - self.since
        if self._allowed < guard.now or self._stalled():
            self.drop("slow")
        elif self.partial:
            earlier = self._in_head and self.cycle is not None and not self.cycle.response_complete
            if earlier or self.flow.read_paused:
                self.since = guard.now  # it is the server that takes its time
            elif age > guard.seconds + self._body / SLOWEST:
                self.refuse(408, f"the request was not complete after {age:.0f} s", "slow")
        elif self.transport.is_closing():
            # The last bytes of an answer that nobody reads.
            if age > guard.seconds and self._allowed == math.inf:
                self.transport.abort()
        elif self.idle() and age > (guard.seconds if self.cycle is None else guard.keep_alive):
            self.leave()
        elif self.cycle is not None and not self._looked and age > guard.seconds and self.idle():
            # Once in each idle time: an answer that went to the kernel whole is not known to have been read.
            self._looked = True
            if _unread(self.transport):
                self.drop("slow")

    def _stalled(self) -> bool:
        """Return whether the client has read nothing of its answer for as long as it may take."""
        if self._allowed == math.inf:
            return False
        left = self.transport.get_write_buffer_size()
        if left < self._unread:
            self._unread, self._moved = left, self.guard.now
        return self.guard.now - self._moved > self.guard.seconds

    def leave(self) -> None:
        """Close an idle connection."""
        self.since = self.guard.now
        self._leaving = True
        self.guard.leaving += 1
        self.transport.close()

    def drop(self, reason: str) -> None:
        """Close a connection at once."""
        self.guard.observe(reason)
        self.guard.blocked.discard(self)
        self._allowed = math.inf
        self.partial = False
        self._release()
        self.transport.abort()

    def refuse(self, status: int, why: str, reason: str, retry_after: int = 0) -> None:
        """Answer with an error in place of the request that is being read, and close.

        Where an earlier request still waits for its answer, that one is given, and then the connection is closed.
        """
        self._why = None
        if self._refused or self.transport.is_closing():
            self.partial = False
            self._release()
            return
        cycle = self.cycle
        running = cycle is not None and not cycle.response_complete
        if self._in_head and running:
            self.guard.observe(reason)
            cycle.keep_alive = False
            self.partial = False
            self._release()
            self.flow.pause_reading()
            return
        if self.pipeline or (cycle is not None and not self._in_head and cycle.response_started):
            self.drop(reason)
            return
        self._refused = True
        self.guard.observe(reason)
        self.partial = False
        self._release()
        if running:
            cycle.disconnected = True
            cycle.body = bytearray()
            cycle.message_event.set()
        self.flow.resume_reading()
        body = orjson.dumps({"error": why})
        head = [b"HTTP/1.1 %d %s" % (status, _PHRASES[status]), b"content-type: application/json"]
        head += [b"content-length: %d" % len(body), b"connection: close"]
        if retry_after:
            head.append(b"retry-after: %d" % retry_after)
        self.transport.write(b"\r\n".join([*head, b"", body]))
        _Lingering(self).begin()

    def _refuse_upgrade(self) -> None:
        """Answer a request for another protocol as any other, and read no further: the parser would take its body,
        which it skips, for the next request.
        """
        self.parser = _Deaf()  # type: ignore[assignment]
        if self.cycle is not None:
            self.cycle.keep_alive = False
        headers = dict(self.headers)
        if headers.get(b"content-length", b"0").strip(b"0") or b"transfer-encoding" in headers:
            self.refuse(
                400, "send no Upgrade header with a body: this server speaks HTTP/1.1 alone", "malformed"
            )

    def _too_long(self) -> tuple[int, str, str]:
        if len(self.url) > HEAD_BYTES // 2:
            return 414, f"the address is longer than {HEAD_BYTES // 2} bytes", "large"
        return 431, f"the headers are larger than {HEAD_BYTES} bytes or too many", "large"

    def _give_up(self, why: tuple[int, str, str]) -> None:
        self._why = why
        raise ValueError(why[1])  # the parser stops and tells `data_received`

    def _release(self) -> None:
        self.guard.held -= self.held
        self.held = 0


def _unread(transport: asyncio.Transport) -> int:
    """Return how many bytes the kernel keeps that the client has not acknowledged; 0 where it does not say."""
    kept = array.array("i", [0])
    try:
        fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, kept)
    except (OSError, AttributeError):
        return 0
    return kept[0]


class _Deaf:
    """Stands for the parser of a connection from which nothing more is read."""

    def feed_data(self, data: bytes) -> None:
        pass


class _Lingering(asyncio.Protocol):
    """A refused connection: what still comes is dropped. To close at once would destroy the answer on its way."""

    def __init__(self, refused: GuardedProtocol) -> None:
        self._refused = refused
        self._room = LINGER_BYTES

    def begin(self) -> None:
        """Take over the connection."""
        transport = self._refused.transport
        transport.set_protocol(self)
        if transport.can_write_eof():
            transport.write_eof()
        self._end = self._refused.loop.call_later(LINGER_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            self._refused.transport.abort()

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        self._refused.connection_lost(exc)
