"""Where the model package comes from: a folder, or the registry."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from chandlery.errors import ModelLoadError, UserError

_REGISTERED = re.compile(r"models:/(?P<name>[^/]+)/(?P<version>[0-9]+)")


def fetch(uri: str) -> Path:
    """Return the local folder of a model package, downloaded when it is a registered one.

    Args:
        uri: folder, `file://` address, or `models:/name/version`.

    Raises:
        UserError: an address that the server cannot fetch.
        ModelLoadError: no such folder.
        RegistryError: the registry refused or could not be reached.
    """
    registered = _REGISTERED.fullmatch(uri)
    if registered:
        from chandlery import registry

        return registry.download(registered["name"], registered["version"])
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        raise UserError(
            f"cannot serve {uri}: not a folder and not models:/name/version",
            "let the storage initializer fetch it, and set MODEL_URI to the folder",
        )
    folder = Path(unquote(parts.path) if parts.scheme else uri)
    if not folder.is_dir():
        raise ModelLoadError(f"no model package at {folder}", "train_model writes one")
    return folder


def version_of(uri: str) -> str:
    """Return the registered version that an address names; empty when it names none."""
    registered = _REGISTERED.fullmatch(uri)
    return registered["version"] if registered else ""
