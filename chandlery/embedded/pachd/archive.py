"""The TAR stream of GetFileTAR: absolute names, directories with a trailing slash, headers with name and size only."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from chandlery.embedded.pachd.reading import Snapshot, is_below_match

_BLOCK = 512
_GATHER = 1024 * 1024  # small files share a message of about this size


def stream(found: Snapshot, pattern: str, lower: str, upper: str) -> Iterator[bytes]:
    """Yield a TAR of what `pattern` matches, restricted to the paths with `lower <= path < upper` ("": no limit).

    Nothing is yielded when nothing matches.
    """
    seen = ""
    gathered = bytearray()
    empty = True
    for entry in found.matching_entries(pattern):
        if entry.path < lower:
            continue
        parent = entry.path[: entry.path.rindex("/") + 1]
        for directory in _new_directories(seen, parent):
            if directory >= lower and not _beyond(directory, upper) and is_below_match(pattern, directory):
                gathered += _header(directory, 0)
                empty = False
        seen = parent
        # Beyond the range, what lies before the bound are at most the directories of the first file there.
        if _beyond(entry.path, upper):
            break
        gathered += _header(entry.path, entry.size)
        empty = False
        for piece in found.content(entry):
            gathered += piece
            if len(gathered) >= _GATHER:
                yield bytes(gathered)
                gathered.clear()
        gathered += bytes(-entry.size % _BLOCK)
    if not empty:
        gathered += bytes(2 * _BLOCK)
        yield bytes(gathered)


def _beyond(path: str, upper: str) -> bool:
    return bool(upper) and path >= upper


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
