"""A call in progress as its handler sees it, and the decorator that enters a handler in the table."""

from __future__ import annotations

import inspect
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from betterproto.lib.google.protobuf import Empty
from grpc import StatusCode

from chandlery.embedded.pachd.rpc import joining
from chandlery.embedded.pachd.rpc.parsing import parse as parse_message
from chandlery.embedded.pachd.store.database import version
from chandlery.embedded.pachd.store.failure import ServiceError
from chandlery.embedded.pachd.store.graph import Work
from chandlery.embedded.pachd.store.store import Store

TRANSACTION_KEY = "pach-transaction"
_SHORT, _LONG = 0.002, 0.05  # seconds between two checks of the store


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
        """Raise ServiceError CANCELLED or DEADLINE_EXCEEDED when the client no longer waits for the answer."""
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

    def wait_for_change(self, db: sqlite3.Connection, seen: int) -> None:
        """Return once the store's `version` is no longer `seen`; raises like `check`."""
        seconds = _SHORT
        while version(db) == seen:
            self.pause(seconds)
            seconds = min(_LONG, seconds * 1.5)


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
    method: str,
    request: Any,
    *,
    stream_in: bool = False,
    parse: Callable[[bytes], Any] | None = None,
    joins: str = "",
    work: Callable[[Work, Any], Any] | None = None,
    joined: Callable[[Any], Any] = lambda _: Empty(),
) -> Callable[[Handler], Handler]:
    """Enter a function as the handler of `/service/Method`; a generator function answers with a stream.

    Args:
        method: the full name.
        request: the SDK's class of the request.
        stream_in: whether requests come as a stream.
        parse: reads a request off the wire in another way than the SDK's class does.
        joins: field of `TransactionRequest`, for a request that a client's transaction may hold. The handler is
            then called outside of transactions only.
        work: what such a request does within a database transaction.
        joined: makes the answer to a request that joined, from what `work` returned in the trial run.
    """

    def enter(handler: Handler) -> Handler:
        reader = parse or (lambda data: parse_message(request, data))
        answers = handler if work is None else _joining(handler, joins, work, joined)
        HANDLERS[method] = Rpc(answers, reader, stream_in, inspect.isgeneratorfunction(handler))
        return handler

    return enter


def _joining(
    handler: Handler, kind: str, work: Callable[[Work, Any], Any], joined: Callable[[Any], Any]
) -> Handler:
    joining.WORK[kind] = work

    def answer(call: Call, request: Any) -> Any:
        if call.transaction:
            return joined(joining.add_request(call.store, call.transaction, kind, request))
        return handler(call, request)

    return answer
