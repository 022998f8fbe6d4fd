"""The interface of a source: its files in one order, each opened as a stream of chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

CHUNK = 4 * 1024 * 1024  # bytes held of a file at a time


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source.

    Attributes:
        path: name relative to the source, elements separated by `/`.
        size: bytes; -1 when the source does not give it.
        version: changes whenever the content does (an ETag, a generation); empty when the source has none.
        read: opens the file; yields its content in chunks of at most `CHUNK` bytes, and raises when it is not,
            or no longer, the version that was listed.
        stamp: what the source knows of the file without reading it: while the stamp of a path is the same, so is its
            content. Empty when nothing can be relied on.
    """

    path: str
    size: int
    version: str
    read: Callable[[], Iterator[bytes]]
    stamp: str = ""


class Source(Protocol):
    """A file or a folder of files somewhere."""

    @property
    def name(self) -> str:
        """The address, for messages."""

    @property
    def cheap_to_read(self) -> bool:
        """Reading everything once more costs little, so that content is compared before anything is uploaded."""

    def entries(self) -> Iterator[SourceFile]:
        """Yield the files in byte order of their paths, listed again at each call.

        Raises:
            NotFoundError: there is no such file, folder, bucket or prefix.
            UserError: something below it cannot be part of a dataset.
            DataError: it cannot be read.
        """
