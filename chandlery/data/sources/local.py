"""A file or folder of this machine."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from chandlery.data.sources.source import CHUNK, SourceFile
from chandlery.errors import DataError, NotFoundError, UserError

# A file that was written this short a time ago may be written again without a change of its times, whose steps are up
# to two seconds long (FAT). Only an older one has a stamp; git calls the others "racily clean".
FRESH_NS = 2_000_000_000

_Key = tuple[int, int, int]  # size, modification time in nanoseconds, inode


class LocalSource:
    """Files below a folder, links followed; or one file."""

    cheap_to_read = True

    def __init__(self, path: Path) -> None:
        """Name the path; nothing is read."""
        self._path = path
        self.name = str(path)

    def entries(self) -> Iterator[SourceFile]:
        """Yield the files; see `Source.entries`."""
        if not self._path.exists():
            raise NotFoundError(f"source {self.name}: no such file or folder", "check the path")
        if self._path.is_dir():
            yield from _folder(self.name, "", ())
        else:
            yield _file(self.name, self._path.name, self._path.stat)


def _folder(folder: str, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[SourceFile]:
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise UserError(f"source {folder}: a link leads back to a folder above it", "remove the link")
    try:
        with os.scandir(folder) as found:
            children = [(os.fsencode(item.name), item.is_dir(), item) for item in found]
    except OSError as error:
        raise DataError(
            f"source {folder}: {error.strerror}", "check its permissions; nothing was committed"
        ) from error
    # Byte order of whole paths: a folder sorts as if its name ended in '/'.
    children.sort(key=lambda child: child[0] + b"/" * child[1])
    for _, is_folder, item in children:
        if is_folder:
            yield from _folder(item.path, f"{prefix}{item.name}/", (*above, identity))
        else:
            yield _file(item.path, prefix + item.name, item.stat)


def _file(path: str, name: str, look: Callable[[], os.stat_result]) -> SourceFile:
    try:
        status = look()
    except OSError as error:
        raise UserError(
            f"source {path}: {error.strerror}", "a dangling link? remove it, or correct its target"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"source {path}: not a regular file", "remove pipes, sockets and devices")
    key = (status.st_size, status.st_mtime_ns, status.st_ino)
    return SourceFile(name, status.st_size, "", partial(_read, path, key), _stamp(status))


def _stamp(status: os.stat_result) -> str:
    # With the time of the last change of the inode, which nobody can set: `touch -r` and `cp -p` do not deceive it.
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < FRESH_NS:
        return ""
    return f"{status.st_mtime_ns:x}-{status.st_ctime_ns:x}-{status.st_ino:x}-{status.st_dev:x}"


def _read(path: str, expected: _Key) -> Iterator[bytes]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise DataError(
            f"source {path}: {error.strerror}", "it changed while it was read, or cannot be read: run again"
        ) from error
    try:
        left = expected[0]
        while left and (chunk := _next(file, path, min(left, CHUNK))):
            left -= len(chunk)
            yield chunk
        status = os.fstat(file)
    finally:
        os.close(file)
    if left or (status.st_size, status.st_mtime_ns, status.st_ino) != expected:
        raise changed(path)


def _next(file: int, path: str, size: int) -> bytes:
    try:
        return os.read(file, size)
    except OSError as error:
        raise DataError(
            f"source {path}: {error.strerror}", "nothing was committed: check the disk"
        ) from error


def changed(name: str) -> DataError:
    """Return the error for a source that is not what it was when it was listed."""
    return DataError(
        f"source {name} changed while it was read; nothing was committed",
        "run again when nobody writes to it",
    )
