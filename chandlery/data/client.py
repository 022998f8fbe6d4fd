"""Opening and closing the versioned-data client."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from chandlery import platform
from chandlery.data.errors import translated

if TYPE_CHECKING:
    from pachyderm_sdk import Client

# A unary call answers in milliseconds; one that does not in this time has lost its server. Seconds.
CALL_DEADLINE = 120.0


@contextmanager
def connect() -> Iterator[Client]:
    """Open the versioned-data endpoint for a block; every plain call on it has a deadline.

    Raises:
        UserError: the address has an unknown scheme.
        PlatformError: the server cannot be reached.
    """
    with translated("open versioned data"):
        client = platform.open_data()
    _add_deadline(client)
    try:
        yield client
    finally:
        close(client)


def close(client: Client) -> None:
    """Close a client: its channel, and with it every stream that is still open.

    Closing the generator of a stream does not cancel the call on the server; closing the channel does.
    """
    client._channel.close()


def _add_deadline(client: Client) -> None:
    # The SDK passes no timeout and offers no place to give one; its channel can be wrapped. Private, so pinned.
    if platform.endpoints().data.startswith("embedded:"):
        return  # in this process: no server that could be lost
    client._channel = grpc.intercept_channel(client._channel, _Deadline(CALL_DEADLINE))
    client._init_api()


class _Details(
    collections.namedtuple(
        "_Details", ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")
    ),
    grpc.ClientCallDetails,  # type: ignore[misc]  # grpc is untyped
):
    """Details of a call with another timeout."""


class _Deadline(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # grpc is untyped
    """Gives every unary call without a timeout one; streams carry data for as long as it takes."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Any], details: Any, request: Any
    ) -> Any:
        if details.timeout is None:
            details = _Details(
                details.method,
                self._seconds,
                details.metadata,
                details.credentials,
                getattr(details, "wait_for_ready", None),
                getattr(details, "compression", None),
            )
        return continuation(details, request)
