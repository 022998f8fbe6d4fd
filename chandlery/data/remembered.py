"""Memory of the files that were read of a source the last time: unchanged files are neither read nor sent again.

One document for each source, `<home>/cache/sources/<digest of the address>.json`. It may be deleted at any time: then
everything is read once more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from chandlery import addresses
from chandlery.data import names
from chandlery.files import write_json

SCHEMA_VERSION = 1
MOST_FILES = 250_000  # a source of more files is not remembered: memory stays bounded


class Known(NamedTuple):
    """One file as it was read: bytes, SHA-256, and the stamp that it had (see `Entry.stamp`)."""

    size: int
    sha256: bytes
    stamp: str


Files = dict[str, Known]  # by path relative to the source, in the order of the source


class Content:
    """SHA-256 over names, sizes and contents of a dataset, file by file in the order of its source."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, path: str, size: int, sha256: bytes) -> None:
        """Count one file."""
        self._digest.update(b"%s\0%d\0%s" % (names.encode(path).encode(), size, sha256))

    def hexdigest(self) -> str:
        """Return the digest of what was added so far."""
        return self._digest.hexdigest()


def content_of(files: Files) -> str:
    """Return the digest of a dataset."""
    content = Content()
    for path, known in files.items():
        content.add(path, known.size, known.sha256)
    return content.hexdigest()


def recall(source: str) -> Files:
    """Return what is remembered of a source; empty when that is nothing, or not readable."""
    try:
        document = json.loads(_place(source).read_text(encoding="utf-8"))
        if document["schema_version"] != SCHEMA_VERSION:
            return {}
        return {
            path: Known(size, bytes.fromhex(sha256), stamp) for path, size, sha256, stamp in document["files"]
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def remember(source: str, files: Files) -> None:
    """Keep what was read of a source, if it can be kept; without it the next time takes longer, no more."""
    if len(files) > MOST_FILES:
        return
    rows = [(path, known.size, known.sha256.hex(), known.stamp) for path, known in files.items()]
    with contextlib.suppress(OSError):
        write_json(_place(source), {"schema_version": SCHEMA_VERSION, "files": rows}, indent=None)


def folder() -> Path:
    """Return where all of it is kept."""
    return addresses.home() / "cache" / "sources"


def _place(source: str) -> Path:
    address = source if "://" in source else os.path.abspath(source)
    # A digest: addresses hold slashes, and secrets.
    name = hashlib.sha256(os.fsencode(address)).hexdigest()[:32]
    return folder() / f"{name}.json"
