"""The in-process face: a gRPC channel that calls the handlers, with no socket and no serialisation.

What cannot be serialised is refused all the same, as the SDK does on a socket.

`ChannelToStore` is what `grpc.intercept_channel` and the SDK's stubs need of a channel. A streamed answer is made while
it is read, in the reader's thread; it ends, and frees what it holds, when the reader lets go of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from chandlery.embedded.pachd.rpc.calls import Call
from chandlery.embedded.pachd.rpc.parsing import as_sent
from chandlery.embedded.pachd.rpc.table import load_handlers
from chandlery.embedded.pachd.store.failure import ServiceError, from_exception, unimplemented
from chandlery.embedded.pachd.store.store import Store


class _ClientCall(grpc.Call, grpc.Future):  # type: ignore[misc]
    """What grpc gives a client to ask about a call: here one that has ended, well unless `_error` is set."""

    _error: CallError | None = None
    _ended = True

    def code(self) -> grpc.StatusCode | None:
        """Return the status code; None while the call runs."""
        if not self._ended:
            return None
        return self._error.refusal.code if self._error else grpc.StatusCode.OK

    def details(self) -> str:
        """Return the text of the refusal; empty when there is none."""
        return self._error.refusal.text if self._error else ""

    def initial_metadata(self) -> tuple[()]:
        """Return no metadata."""
        return ()

    def trailing_metadata(self) -> tuple[()]:
        """Return no metadata."""
        return ()

    def is_active(self) -> bool:
        """Return whether the call runs."""
        return not self._ended

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline; None without one."""
        return None

    def cancel(self) -> bool:
        """Cancel the call; return whether it still ran."""
        return not self._ended

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Return False: the call has ended, so `callback` will not be called."""
        return False

    def cancelled(self) -> bool:
        """Return whether the call ended by its cancellation."""
        return self.code() is grpc.StatusCode.CANCELLED

    def running(self) -> bool:
        """Return whether the call runs."""
        return not self._ended

    def done(self) -> bool:
        """Return whether the call has ended."""
        return self._ended

    def result(self, timeout: float | None = None) -> Any:
        """Return the answer, or raise the refusal."""
        if self._error:
            raise self._error
        return self._answer()

    def exception(self, timeout: float | None = None) -> CallError | None:
        """Return the refusal; None when there is none."""
        return self._error

    def traceback(self, timeout: float | None = None) -> Any:
        """Return the traceback of the refusal."""
        return self._error.__traceback__ if self._error else None

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Call `fn` when the call has ended: at once."""
        fn(self)

    def _answer(self) -> Any:
        return None


class CallError(grpc.RpcError, _ClientCall):  # type: ignore[misc]
    """A refusal as grpc gives it to a client: an exception that is also the ended call.

    Attributes:
        refusal: the refusal of the handler.
    """

    def __init__(self, refusal: ServiceError) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal
        self._error = self

    def __str__(self) -> str:
        return f"{self.refusal.code.name}: {self.refusal.text}"


class _Succeeded(_ClientCall):
    """A call of one answer that succeeded."""

    def __init__(self, answer: Any) -> None:
        self._value = answer

    def _answer(self) -> Any:
        return self._value


class _Stream(grpc.RpcError, _ClientCall):  # type: ignore[misc]
    """A call whose answers are read one by one."""

    def __init__(self, call: Call, answers: Iterator[Any]) -> None:
        self._call = call
        self._answers = answers
        self._ended = False
        self._callbacks: list[Callable[[Any], None]] = []

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> Any:
        if self._ended:
            if self._error:
                raise self._error
            raise StopIteration
        try:
            return next(self._answers)
        except StopIteration:
            self._end(None)
            raise
        except Exception as error:
            failed = CallError(from_exception(error))
            self._end(failed)
            raise failed from error

    def _end(self, error: CallError | None) -> None:
        self._ended, self._error = True, error
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def time_remaining(self) -> float | None:
        return None if self._call.deadline is None else max(0.0, self._call.deadline - time.monotonic())

    def cancel(self) -> bool:
        self._call.cancelled.set()
        return not self._ended

    def add_callback(self, callback: Callable[[], None]) -> bool:
        if self._ended:
            return False
        self._callbacks.append(lambda _: callback())
        return True

    def cancelled(self) -> bool:
        return self._call.cancelled.is_set()

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        if self._ended:
            fn(self)
        else:
            self._callbacks.append(fn)

    def _answer(self) -> Any:
        return self


class _Method:
    """One RPC of the channel: the callable that grpc calls a multi-callable."""

    def __init__(self, store: Store, method: str, *, streams: bool, takes_stream: bool = False) -> None:
        self._store = store
        self._method = method
        self._streams = streams
        self._takes_stream = takes_stream

    def __call__(self, request: Any, timeout: float | None = None, metadata: Any = None, **_: Any) -> Any:
        if self._streams:
            call = _new_call(self._store, timeout, metadata)
            return _Stream(call, self._answers(call, request))
        return self.with_call(request, timeout, metadata)[0]

    def with_call(self, request: Any, timeout: float | None = None, metadata: Any = None, **_: Any) -> Any:
        """Return the answer and the finished call; raises CallError."""
        call = _new_call(self._store, timeout, metadata)
        try:
            answer = self._answer(call, request)
        except Exception as error:
            raise CallError(from_exception(error)) from error
        return answer, _Succeeded(answer)

    def future(self, request: Any, timeout: float | None = None, metadata: Any = None, **_: Any) -> Any:
        """Make the call at once and return it finished."""
        try:
            return self.with_call(request, timeout, metadata)[1]
        except CallError as error:
            return error

    def _answers(self, call: Call, request: Any) -> Iterator[Any]:
        call.check()
        yield from self._answer(call, request)

    def _answer(self, call: Call, request: Any) -> Any:
        rpc = load_handlers().get(self._method)
        if rpc is None:
            raise unimplemented(self._method)
        if self._takes_stream:
            return rpc.handler(call, (as_sent(each, rpc.parse) for each in _requests(request)))
        return rpc.handler(call, as_sent(request, rpc.parse))


class ChannelToStore(grpc.Channel):  # type: ignore[misc]
    """A channel whose server is the handlers, in this process.

    Args:
        store: the store that they work on.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def unary_unary(self, method: str, *_: Any, **__: Any) -> Any:
        """Return the callable of an RPC."""
        return _Method(self._store, method, streams=False)

    def unary_stream(self, method: str, *_: Any, **__: Any) -> Any:
        """Return the callable of an RPC that answers with a stream."""
        return _Method(self._store, method, streams=True)

    def stream_unary(self, method: str, *_: Any, **__: Any) -> Any:
        """Return the callable of an RPC that takes a stream."""
        return _Method(self._store, method, streams=False, takes_stream=True)

    def stream_stream(self, method: str, *_: Any, **__: Any) -> Any:
        """Return the callable of an RPC with streams both ways."""
        return _Method(self._store, method, streams=True, takes_stream=True)

    def subscribe(self, callback: Callable[[Any], None], try_to_connect: bool | None = False) -> None:
        """Call `callback` with READY: the channel always is."""
        callback(grpc.ChannelConnectivity.READY)

    def unsubscribe(self, callback: Callable[[Any], None]) -> None:
        """Do nothing: the state of the channel never changes."""

    def close(self) -> None:
        """Release the store."""
        self._store.close()

    def __enter__(self) -> ChannelToStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _new_call(store: Store, timeout: float | None, metadata: Any) -> Call:
    deadline = None if timeout is None else time.monotonic() + timeout
    return Call(store, tuple(metadata or ()), deadline)


def _requests(requests: Iterable[Any]) -> Iterator[Any]:
    # An exception of the caller's iterator: grpc reports it in these words and sends nothing more.
    iterator = iter(requests)
    while True:
        try:
            request = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            raise ServiceError(grpc.StatusCode.UNKNOWN, "Exception iterating requests!") from error
        yield request
