"""The TAR stream of GetFileTAR: absolute names, directories with a trailing slash, headers with name and size only."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from chandlery.embedded.pachd.reading import Snapshot

_BLOCK = 512
_GATHER = 1024 * 1024  # small files share a message of about this size


def stream(found: Snapshot, pattern: str, lower: str, upper: str) -> Iterator[bytes]:
    """Yield a TAR of what `pattern` matches, restricted to the files with `lower <= path < upper` ("": no limit).

    Nothing is yielded when no file matches.
    """
    seen = ""
    gathered = bytearray()
    any_file = False
    _, entries = found.matching_entries(pattern)
    for entry in entries:
        if entry.path < lower or (upper and entry.path >= upper):
            continue
        any_file = True
        parent = entry.path[: entry.path.rindex("/") + 1]
        for directory in _new_directories(seen, parent):
            gathered += _header(directory, 0)
        seen = parent
        gathered += _header(entry.path, entry.size)
        for piece in found.content(entry):
            gathered += piece
            if len(gathered) >= _GATHER:
                yield bytes(gathered)
                gathered.clear()
        gathered += bytes(-entry.size % _BLOCK)
    if any_file:
        gathered += bytes(2 * _BLOCK)
        yield bytes(gathered)


def _header(path: str, size: int) -> bytes:
    info = tarfile.TarInfo(path)
    info.size, info.mode = size, 0
    if path.endswith("/"):
        info.type = tarfile.DIRTYPE
    return info.tobuf(tarfile.PAX_FORMAT)


def _new_directories(before: str, parent: str) -> Iterator[str]:
    at = 0
    while (at := parent.find("/", at) + 1) > 0:
        if not before.startswith(parent[:at]):
            yield parent[:at]
