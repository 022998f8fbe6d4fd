"""Versioned data on Pachyderm: safe commits, cached checkouts, quality.

The whole stage in a few names; everything that knows the Pachyderm SDK is in this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chandlery.data.checkouts import Checkout, checkout, fetch
    from chandlery.data.client import close, connect
    from chandlery.data.commits import Writing, writing
    from chandlery.data.references import Pinned, resolve
    from chandlery.data.uploads import Committed, commit

__all__ = [
    "Checkout",
    "Committed",
    "Pinned",
    "Writing",
    "checkout",
    "close",
    "commit",
    "connect",
    "fetch",
    "resolve",
    "writing",
]

# The SDK takes a second to import: loaded when a name is used, not when the command line looks at the package.
_HOMES = {
    "Checkout": "checkouts",
    "Committed": "uploads",
    "Pinned": "references",
    "Writing": "commits",
    "checkout": "checkouts",
    "close": "client",
    "commit": "uploads",
    "connect": "client",
    "fetch": "checkouts",
    "resolve": "references",
    "writing": "commits",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
