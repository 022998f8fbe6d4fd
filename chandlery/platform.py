"""Openers: the SDK client or the store behind each address, chosen by the address's scheme.

This module alone imports `chandlery.embedded`, and only when an address begins with `embedded:`.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from chandlery.addresses import VARIABLES, endpoints, folder_of, make_home, split
from chandlery.errors import UserError

if TYPE_CHECKING:
    from pachyderm_sdk import Client

    from chandlery.resources import ResourceStore


class Garbage(Protocol):
    """Chunks of versioned data that nothing refers to."""

    def garbage(self) -> tuple[int, int]:
        """Return how many chunk files nothing refers to, and their bytes; (0, 0) while another call uses the chunks."""
        ...

    def collect(self) -> int:
        """Free them unless another call uses the chunks just now; returns the bytes freed."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


def open_data() -> Client:
    """Open the versioned-data endpoint as a Pachyderm SDK client. Close it with `chandlery.data.close` or the process.

    Raises:
        UserError: the address has an unknown scheme.
    """
    address = endpoints().data
    parts = split("data", address)
    if parts.scheme == "embedded":
        from chandlery.embedded.pachd import open_client

        make_home()
        return open_client(folder_of("data", parts))
    from pachyderm_sdk import Client

    if parts.scheme in ("grpc", "grpcs"):
        try:
            return Client.from_pachd_address(address)
        except ValueError as error:
            raise UserError(f"{VARIABLES['data']}={address}: {error}", "use grpc://host:port") from error
    if parts.scheme == "unix":
        # The SDK formats host:port without looking at either, so this gives grpc the target unix:/path.
        return Client(host="unix", port=parts.path)
    raise UserError(
        f"{VARIABLES['data']}={address}: unknown scheme {parts.scheme!r}",
        "use embedded:///folder, grpc://host:port, grpcs://host:port or unix:///path.sock",
    )


def open_garbage() -> Garbage | None:
    """Open the chunks of embedded versioned data for the garbage collector; None when there is no such data."""
    parts = split("data", endpoints().data)
    if parts.scheme != "embedded" or not Path(parts.path).is_dir():
        return None
    from chandlery.embedded.pachd.store.store import Store

    return Store(Path(parts.path))


def open_resources() -> ResourceStore:
    """Open the custom-resources endpoint.

    Raises:
        UserError: the address has an unknown scheme.
    """
    address = endpoints().resources
    parts = split("resources", address)
    if parts.scheme == "embedded":
        from chandlery.embedded.resources import EmbeddedStore

        make_home()
        return EmbeddedStore(folder_of("resources", parts))
    if parts.scheme == "kubernetes":
        from chandlery.resources.kubernetes import KubernetesStore

        return KubernetesStore(context=parts.netloc)
    raise UserError(
        f"{VARIABLES['resources']}={address}: unknown scheme {parts.scheme!r}",
        "use embedded:///folder or kubernetes://[context]",
    )


def laptop() -> ModuleType:
    """Return the module that starts, stops and watches the laptop platform: `up`, `down`, `states`."""
    from chandlery.embedded import supervisor

    return supervisor


def serve_data(address: str) -> None:
    """Serve this home's embedded versioned data on `unix:///path.sock` or `host:port` until SIGTERM.

    Raises:
        UserError: the data endpoint is not embedded, so there is nothing to serve.
    """
    parts = split("data", endpoints().data)
    if parts.scheme != "embedded":
        raise UserError(
            f"{VARIABLES['data']}={endpoints().data} is not embedded", "it has a server of its own"
        )
    from chandlery.embedded.pachd.faces.server import serve

    serve(Path(parts.path), address)
