"""Which services of a home folder are wanted: on disk, so that a supervisor started again starts the same ones."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from chandlery.embedded.supervisor.services import SERVICES
from chandlery.files import write_json
from chandlery.processes.locks import exclusive

_FILE = "wanted.json"


def want(state: Path, names: Collection[str]) -> None:
    """Add services to those that are wanted.

    Args:
        state: folder of the platform's own state.
        names: names of the services.

    Raises:
        OSError: it cannot be written.
    """
    with exclusive(state / "wanted.lock"):
        before = set(wanted(state)) if (state / _FILE).exists() else set()
        names = [name for name in SERVICES if name in before or name in names]
        if set(names) != before:
            write_json(state / _FILE, names, indent=None)


def wanted(state: Path) -> tuple[str, ...]:
    """Return the services that are wanted, in the order in which they start; all where nothing is written."""
    try:
        names = json.loads((state / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return SERVICES
    return tuple(name for name in SERVICES if name in names)


def wanted_stamp(state: Path) -> object:
    """Return what differs once other services are wanted."""
    try:
        found = (state / _FILE).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def forget(state: Path) -> None:
    """Want no service: the platform has been stopped."""
    (state / _FILE).unlink(missing_ok=True)
