"""A small, faithful pachd: versioned data in a folder, spoken to through the Pachyderm SDK only.

`open_client` gives an SDK client without a server; `chandlery.embedded.pachd.faces.server` puts the same store behind a socket.
What it does not do it refuses as UNIMPLEMENTED; see docs/embedded-pachd.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pachyderm_sdk import Client


def open_client(store: Path) -> Client:
    """Return an SDK client on the store in a folder, which is made when missing."""
    from chandlery.embedded.pachd.faces.client import open_client as open_

    return open_(store)


__all__ = ["open_client"]
