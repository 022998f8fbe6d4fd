"""The table of all handlers."""

from __future__ import annotations

from chandlery.embedded.pachd.rpc import (  # noqa: F401 (importing a module enters its handlers)
    branches,
    cluster,
    commits,
    file_sets,
    files,
    metadata,
    modify,
    repos,
    transactions,
)
from chandlery.embedded.pachd.rpc.calls import HANDLERS, Rpc


def load_handlers() -> dict[str, Rpc]:
    """Return the handlers by full method name."""
    return HANDLERS
