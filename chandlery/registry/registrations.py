"""What each registered version was when it was registered, kept outside of MLflow.

Whoever can write to MLflow can alter a version's artifacts and the digest in its tag together. The record lies at
`<artifacts>/registrations/<model>/<version>`, which MLflow does not serve. Where artifacts are kept in a bucket there is none.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from chandlery.addresses import endpoints
from chandlery.files import write_text


def remember(model_name: str, version: str, digest: str) -> None:
    """Record the digest of a version's index; a version of that number that was deleted before is forgotten."""
    path = _path(model_name, version)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, digest + "\n")


def remembered(model_name: str, version: str) -> str:
    """Return the digest that was recorded; empty when none was, or when it cannot be read here."""
    path = _path(model_name, version)
    try:
        return path.read_text(encoding="utf-8").strip() if path is not None else ""
    except (OSError, UnicodeDecodeError):
        return ""


def _path(model_name: str, version: str) -> Path | None:
    root = endpoints().artifacts
    if "://" in root:
        return None
    return Path(root) / "registrations" / quote(model_name, safe="") / quote(version, safe="")
