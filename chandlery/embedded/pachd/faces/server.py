"""The socket face: the same handlers behind gRPC, for notebooks, pachctl and tests of the wire."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from chandlery import progress
from chandlery.embedded.pachd.rpc.calls import Call, Rpc
from chandlery.embedded.pachd.rpc.table import load_handlers
from chandlery.embedded.pachd.store.failure import ServiceError, from_exception, unimplemented
from chandlery.embedded.pachd.store.store import Store, open_store
from chandlery.errors import PlatformError
from chandlery.processes.descriptors import raise_descriptor_limit
from chandlery.processes.flag import setting

MAX_MESSAGE = 20 * 1024 * 1024  # as a production pachd; the SDK sends up to 19 MiB of content at a time
# Threads are made as calls need them. Each waiting call (wait, subscribe) holds one until it ends.
_MAX_CALLS = 1024
BROKEN_SECONDS = 0.005  # in which a stream that was broken off shows itself
_STOP_SECONDS = 5.0


def start(store: Path, address: str) -> tuple[grpc.Server, str]:
    """Start serving a store in the background.

    Args:
        store: folder of the store, made when missing.
        address: `unix:///path.sock` or `host:port`; port 0 lets the system choose.

    Returns:
        The server, and the address that it listens on.

    Raises:
        PlatformError: the store cannot be opened, or the address cannot be listened on.
    """
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
    ]
    # Without this two servers would share a port in silence.
    options.append(("grpc.so_reuseport", 0))
    server = grpc.server(ThreadPoolExecutor(_MAX_CALLS, thread_name_prefix="pachd"), options=options)
    server.add_generic_rpc_handlers((_Router(open_store(store)),))
    try:
        port = server.add_insecure_port(address.replace("unix://", "unix:", 1))
    except RuntimeError as error:
        raise PlatformError(
            f"cannot listen on {address}: {error}", "choose another address, or stop the program that uses it"
        ) from error
    server.start()
    host, _, _ = address.rpartition(":")
    return server, address if address.startswith("unix:") else f"{host}:{port}"


def serve(store: Path, address: str) -> None:
    """Serve a store until SIGTERM or SIGINT; calls in progress get five seconds to end.

    Args:
        store: folder of the store, made when missing.
        address: `unix:///path.sock` or `host:port`.

    Raises:
        PlatformError: the address cannot be listened on.
    """
    raise_descriptor_limit()
    stop = threading.Event()
    before = {number: signal.signal(number, setting(stop)) for number in (signal.SIGTERM, signal.SIGINT)}
    server, bound = start(store, address)
    progress.report("pachd.ready", f"embedded pachd serves {store} on {bound}", address=bound)
    try:
        stop.wait()
    finally:
        server.stop(_STOP_SECONDS).wait()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Router(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Finds the handler of a method; an unknown one is refused by its name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._handlers = load_handlers()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        rpc = self._handlers.get(details.method)
        if rpc is None:
            return grpc.stream_stream_rpc_method_handler(_refuse(details.method))
        make = getattr(grpc, f"{_kind(rpc.stream_in)}_{_kind(rpc.stream_out)}_rpc_method_handler")
        run = self._stream(rpc) if rpc.stream_out else self._single(rpc)
        return make(run, request_deserializer=_reader(rpc.parse), response_serializer=_serialise)

    def _single(self, rpc: Rpc) -> Callable[[Any, Any], Any]:
        def run(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                return rpc.handler(self._call(context), _read(request, context, rpc.stream_in))
            except Exception as error:
                _abort(context, error)

        return run

    def _stream(self, rpc: Rpc) -> Callable[[Any, Any], Iterator[Any]]:
        def run(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                yield from rpc.handler(self._call(context), _read(request, context, rpc.stream_in))
            except Exception as error:
                _abort(context, error)

        return run

    def _call(self, context: grpc.ServicerContext) -> Call:
        left = context.time_remaining()
        # Without a deadline grpc reports the end of time, which is not one.
        deadline = time.monotonic() + left if left is not None and left < 1e9 else None
        call = Call(self._store, tuple(context.invocation_metadata()), deadline, on_wire=True)
        context.add_callback(call.cancelled.set)
        return call


@dataclass(frozen=True)
class _Malformed:
    """Stands for a request that could not be read; grpc would log a traceback for an exception there."""

    error: ServiceError


def _reader(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return parse(data)
        except ServiceError as error:
            return _Malformed(error)

    return read


def _read(request: Any, context: grpc.ServicerContext, stream: bool) -> Any:
    return _messages(request, context) if stream else _well_formed(request)


def _messages(request: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    """Yield the messages of a stream; one that the caller broke off does not end as one that is complete."""
    broken = threading.Event()
    context.add_callback(broken.set)
    for message in request:
        yield _well_formed(message)
    # grpc tells first that no message follows, in both cases alike, and only then that the caller is gone.
    if broken.wait(BROKEN_SECONDS) or not context.is_active():
        raise ServiceError(grpc.StatusCode.CANCELLED, "the caller broke the stream off")


def _well_formed(message: Any) -> Any:
    if isinstance(message, _Malformed):
        raise message.error
    return message


def _kind(stream: bool) -> str:
    return "stream" if stream else "unary"


def _serialise(message: Any) -> bytes:
    return message if isinstance(message, bytes) else bytes(message)


def _abort(context: grpc.ServicerContext, error: Exception) -> None:
    refusal = from_exception(error)
    context.abort(refusal.code, refusal.text)


def _refuse(method: str) -> Callable[[Any, Any], Any]:
    refusal: ServiceError = unimplemented(method)

    def run(requests: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.abort(refusal.code, refusal.text)
        yield b""

    return run
