"""A file or folder of this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from io import FileIO
from pathlib import Path

from chandlery.data.sources.source import CHUNK, Entry
from chandlery.errors import DataError, NotFoundError, UserError


class LocalSource:
    """Files below a folder, links followed; or one file."""

    cheap_to_read = True

    def __init__(self, path: Path) -> None:
        """Name the path; nothing is read."""
        self._path = path
        self.name = str(path)

    def entries(self) -> Iterator[Entry]:
        """Yield the files; see `Source.entries`."""
        if not self._path.exists():
            raise NotFoundError(f"source {self.name}: no such file or folder", "check the path")
        if self._path.is_dir():
            yield from self._folder(self._path, "", ())
        else:
            yield self._file(self._path, self._path.name)

    def _folder(self, folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            raise UserError(f"source {folder}: a link leads back to a folder above it", "remove the link")
        try:
            with os.scandir(folder) as found:
                children = [(os.fsencode(item.name), item.is_dir()) for item in found]
        except OSError as error:
            raise DataError(
                f"source {folder}: {error.strerror}", "check its permissions; nothing was committed"
            ) from error
        # Byte order of whole paths: a folder sorts as if its name ended in '/'.
        for name, is_folder in sorted(children, key=lambda child: child[0] + b"/" * child[1]):
            text = os.fsdecode(name)
            if is_folder:
                yield from self._folder(folder / text, f"{prefix}{text}/", (*above, identity))
            else:
                yield self._file(folder / text, prefix + text)

    def _file(self, path: Path, name: str) -> Entry:
        try:
            status = path.stat()
        except OSError as error:
            raise UserError(
                f"source {path}: {error.strerror}", "a dangling link? remove it, or mend what it points to"
            ) from error
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"source {path}: not a regular file", "remove pipes, sockets and devices")
        return Entry(
            name,
            status.st_size,
            "",
            partial(_read, path, (status.st_size, status.st_mtime_ns, status.st_ino)),
        )


def _read(path: Path, expected: tuple[int, int, int]) -> Iterator[bytes]:
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise DataError(
            f"source {path}: {error.strerror}", "it changed while it was read, or cannot be read: run again"
        ) from error
    with file:
        while chunk := _next(file, path):
            yield chunk
        status = os.fstat(file.fileno())
    if (status.st_size, status.st_mtime_ns, status.st_ino) != expected:
        raise changed(str(path))


def _next(file: FileIO, path: Path) -> bytes:
    try:
        return file.read(CHUNK)
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
