"""Opening and closing the versioned-data client."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from chandlery import addresses, platform
from chandlery.data.errors import translated

if TYPE_CHECKING:
    from pachyderm_sdk import Client

# A unary call answers in milliseconds; one that does not in this time has lost its server. Seconds.
CALL_DEADLINE = 120.0


# A stream carries data for as long as it takes, but not for ever. Seconds. (An upload into a connection whose far side
# has stopped reading ends only with the connection: gRPC does not give up a message that is half written.)
STREAM_DEADLINE = 3600.0


@contextmanager
def connect(timeout: float = STREAM_DEADLINE) -> Iterator[Client]:
    """Open the versioned-data endpoint for a block; every call on it has a deadline.

    Args:
        timeout: seconds after which a stream (an upload, a download, a listing) is given up.

    Raises:
        UserError: the address has an unknown scheme.
        PlatformError: the server cannot be reached.
    """
    with translated("open versioned data"):
        client = platform.open_data()
    _add_deadline(client, timeout)
    try:
        yield client
    finally:
        close(client)


def close(client: Client) -> None:
    """Close a client: its channel, and with it every stream that is still open.

    Closing the generator of a stream does not cancel the call on the server; closing the channel does.
    """
    client._channel.close()


def _add_deadline(client: Client, timeout: float) -> None:
    # The SDK passes no timeout and offers no place to give one; its channel can be wrapped. Private, so pinned.
    if addresses.endpoints().data.startswith("embedded:"):
        return  # in this process: no server that could be lost
    client._channel = grpc.intercept_channel(client._channel, _Deadline(CALL_DEADLINE, timeout))
    client._init_api()


class _Details(
    collections.namedtuple(
        "_Details", ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")
    ),
    grpc.ClientCallDetails,  # type: ignore[misc]  # grpc is untyped
):
    """Details of a call with another timeout."""


class _Deadline(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]  # grpc is untyped
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
):
    """Gives every call without a timeout one."""

    def __init__(self, call: float, stream: float) -> None:
        self._call, self._stream = call, stream

    def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Any], details: Any, request: Any
    ) -> Any:
        return continuation(_limited(details, self._call), request)

    def intercept_stream_unary(
        self, continuation: Callable[[Any, Any], Any], details: Any, requests: Any
    ) -> Any:
        return continuation(_limited(details, self._stream), requests)

    def intercept_unary_stream(
        self, continuation: Callable[[Any, Any], Any], details: Any, request: Any
    ) -> Any:
        return continuation(_limited(details, self._stream), request)


def _limited(details: Any, seconds: float) -> Any:
    if details.timeout is not None:
        return details
    return _Details(
        details.method,
        seconds,
        details.metadata,
        details.credentials,
        getattr(details, "wait_for_ready", None),
        getattr(details, "compression", None),
    )
