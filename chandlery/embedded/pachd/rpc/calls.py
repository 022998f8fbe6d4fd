"""What a handler knows of its call beyond the request, and the table of handlers."""

from __future__ import annotations

import inspect
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from grpc import StatusCode

from chandlery.embedded.pachd.rpc.parsing import parse as parse_message
from chandlery.embedded.pachd.store.failure import ServiceError
from chandlery.embedded.pachd.store.store import Store

TRANSACTION_KEY = "pach-transaction"
_SHORT, _LONG = 0.002, 0.05  # seconds between looks at the store


@dataclass
class Call:
    """One call in progress.

    Attributes:
        store: the store that it is about.
        metadata: key and value pairs that the client sent.
        deadline: on `time.monotonic`, or None.
        cancelled: set when the client has gone away.
        on_wire: whether the answer is going to be serialised, so that it may come as bytes.
    """

    store: Store
    metadata: Sequence[tuple[str, str | bytes]] = ()
    deadline: float | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    on_wire: bool = False

    @property
    def transaction(self) -> str:
        """The id of the client's transaction, or an empty text."""
        for key, value in self.metadata:
            if key == TRANSACTION_KEY:
                return value if isinstance(value, str) else value.decode()
        return ""

    def check(self) -> None:
        """Raise ServiceError CANCELLED or DEADLINE_EXCEEDED when nobody waits for the answer any more."""
        if self.cancelled.is_set():
            raise ServiceError(StatusCode.CANCELLED, "the call was cancelled")
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise ServiceError(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def pause(self, seconds: float) -> None:
        """Sleep, at most until the deadline or the cancellation; raises like `check`."""
        if self.deadline is not None:
            seconds = max(0.0, min(seconds, self.deadline - time.monotonic()))
        self.cancelled.wait(seconds)
        self.check()


Handler = Callable[[Call, Any], Any]


@dataclass(frozen=True)
class Rpc:
    """One RPC.

    Attributes:
        handler: returns the answer or, for a stream of answers, an iterator of them.
        parse: turns the bytes of one request into what the handler takes.
        stream_in: whether the handler takes an iterator of requests.
        stream_out: whether it returns an iterator.
    """

    handler: Handler
    parse: Callable[[bytes], Any]
    stream_in: bool
    stream_out: bool


HANDLERS: dict[str, Rpc] = {}


def rpc(
    method: str, request: Any, *, stream_in: bool = False, parse: Callable[[bytes], Any] | None = None
) -> Callable[[Handler], Handler]:
    """Enter a function as the handler of `/service/Method`; a generator function answers with a stream.

    Args:
        method: the full name.
        request: the SDK's class of the request.
        stream_in: whether requests come as a stream.
        parse: reads a request off the wire in another way than the SDK's class does.
    """

    def enter(handler: Handler) -> Handler:
        reader = parse or (lambda data: parse_message(request, data))
        HANDLERS[method] = Rpc(handler, reader, stream_in, inspect.isgeneratorfunction(handler))
        return handler

    return enter


@cache
def load_handlers() -> dict[str, Rpc]:
    """Import every module that defines handlers and return the table."""
    from chandlery.embedded.pachd.rpc import (  # noqa: F401
        branches,
        cluster,
        commits,
        file_sets,
        files,
        metadata,
        modify,
        repos,
        transactions,
    )

    return HANDLERS


def wait_for_change(call: Call, db: sqlite3.Connection, seen: int) -> None:
    """Return once the store's `version` is no longer `seen`; raises like `Call.check`."""
    pause = _SHORT
    while version(db) == seen:
        call.pause(pause)
        pause = min(_LONG, pause * 1.5)


def version(db: sqlite3.Connection) -> int:
    """Return a number that changes whenever another connection, of whatever process, commits a transaction."""
    return int(db.execute("PRAGMA data_version").fetchone()[0])
