"""The SDK's client on a store on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pachyderm_sdk import Client
from pachyderm_sdk.client import _apply_metadata_interceptor

from chandlery.embedded.pachd.faces.channel import ChannelToStore
from chandlery.embedded.pachd.store.store import Store, open_store


class EmbeddedClient(Client):  # type: ignore[misc]
    """`pachyderm_sdk.Client` whose channel ends in this process.

    Args:
        store: the store.
    """

    _channel: Any

    def __init__(self, store: Store) -> None:
        self._store = store
        # A token of its own keeps the SDK from logging in with one from the environment.
        super().__init__(auth_token="embedded")

    def _init_api(self) -> None:
        # The SDK comes here with a channel of its own making at the start and whenever the transaction or the token
        # changes; a caller may come with ours inside an interceptor, which stays.
        if not _ends_in_store(self._channel):
            self._channel.close()
            self._channel = _apply_metadata_interceptor(ChannelToStore(self._store), self._grpc_metadata)
        super()._init_api()


def open_client(store: Path) -> Client:
    """Return an SDK client on the store in a folder, which is made when missing.

    Args:
        store: folder of the store; many processes may use it at once.

    Returns:
        A client with the SDK's own API. Nothing needs to be closed.

    Raises:
        PlatformError: the store cannot be opened.
    """
    return EmbeddedClient(open_store(Path(store)))


def _ends_in_store(channel: Any) -> bool:
    while channel is not None:
        if isinstance(channel, ChannelToStore):
            return True
        channel = getattr(channel, "_channel", None)
    return False
