"""Custom resources of a laptop: a small API server's worth of semantics on one SQLite file."""

from chandlery.addresses import endpoints, folder_of, split
from chandlery.embedded.resources.store import EmbeddedStore
from chandlery.errors import PlatformError

__all__ = ["EmbeddedStore", "open_own_store"]


def open_own_store(controller: str) -> EmbeddedStore:
    """Open the embedded store of this home for a controller.

    Args:
        controller: what opens it, for the message.

    Raises:
        PlatformError: the resources endpoint is not embedded.
    """
    address = endpoints().resources
    parts = split("resources", address)
    if parts.scheme != "embedded":
        raise PlatformError(
            f"the {controller} runs on an embedded store, not on {address}",
            "on a cluster the system's own controller does this",
        )
    return EmbeddedStore(folder_of("resources", parts))
