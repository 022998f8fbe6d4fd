"""The TAR stream of GetFileTAR: absolute names, directories with a trailing slash, headers with name and size only."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from itertools import islice

from chandlery.embedded.pachd.rpc.reading import Snapshot, matcher
from chandlery.embedded.pachd.store.layers import Entry

_BLOCK = 512
_GATHER = 1024 * 1024  # small files share a message of about this size
_TOGETHER = 256  # files whose small chunks are read in one query
_NAME_BYTES = 100
_MOST_BYTES = 8**11 - 1
# A header of name and size alone, as `tarfile` writes it: mode, owner, group, then size, time, type, magic, version.
_BEFORE_SIZE = b"0000000\0" * 3
_TIME = b"00000000000\0"
_AFTER_TYPE = bytes(100) + b"ustar\x0000" + bytes(247)
# The part of a header's checksum that is the same in each.
_CHECKSUM = sum(_BEFORE_SIZE) + sum(_TIME) + sum(_AFTER_TYPE) + 8 * ord(" ")


def stream(found: Snapshot, pattern: str, lower: str, upper: str) -> Iterator[bytes]:
    """Yield a TAR of what `pattern` matches, restricted to the paths with `lower <= path < upper` ("": no limit).

    As in pachd, what lies below a directory matches through it, and so only when the directory is in the range too:
    of `/` from `/b` on there is nothing, of `/**` all files. Nothing is yielded when nothing matches.
    """
    matches = matcher(pattern)
    seen, inside = "", "\0"
    gathered = bytearray()
    empty = True
    for entry, small in _with_small(found, _in_range(found.matching_entries(pattern), lower, upper)):
        parent = entry.path[: entry.path.rindex("/") + 1]
        for directory in _new_directories(seen, parent):
            if directory < lower or _beyond(directory, upper):
                continue
            if not directory.startswith(inside):
                if not matches(directory):
                    continue
                inside = directory
            gathered += _header(directory, 0)
            empty = False
        seen = parent
        if _beyond(entry.path, upper):
            break
        if not (entry.path.startswith(inside) or matches(entry.path)):
            continue
        empty = False
        gathered += _header(entry.path, entry.size)
        for piece in (small,) if small is not None else found.content(entry):
            if len(piece) < _GATHER:
                gathered += piece
            else:
                if gathered:
                    yield bytes(gathered)
                    gathered.clear()
                yield piece  # not copied
            if len(gathered) >= _GATHER:
                yield bytes(gathered)
                gathered.clear()
        gathered += bytes(-entry.size % _BLOCK)
    if not empty:
        gathered += bytes(2 * _BLOCK)
        yield bytes(gathered)


def _with_small(found: Snapshot, entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes | None]]:
    iterator = iter(entries)
    while batch := list(islice(iterator, _TOGETHER)):
        yield from zip(batch, found.small_contents(batch), strict=True)


def _in_range(entries: Iterable[Entry], lower: str, upper: str) -> Iterator[Entry]:
    """Yield the files of a range and the first one after it, of which a directory may still be in the range."""
    for entry in entries:
        if entry.path >= lower:
            yield entry
        if _beyond(entry.path, upper):
            return


def _beyond(path: str, upper: str) -> bool:
    return bool(upper) and path >= upper


def _header(path: str, size: int) -> bytes:
    name = path.encode()
    if len(name) <= _NAME_BYTES and size <= _MOST_BYTES:
        octal, kind = b"%011o" % size, b"5" if path.endswith("/") else b"0"
        checksum = sum(name) + sum(octal) + sum(kind) + _CHECKSUM
        before = name.ljust(_NAME_BYTES, b"\0") + _BEFORE_SIZE + octal + b"\0" + _TIME
        return b"%s%06o\0 %s%s" % (before, checksum, kind, _AFTER_TYPE)
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
