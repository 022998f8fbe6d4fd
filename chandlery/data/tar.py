"""Reading a TAR from a stream of messages: of each file its name, size and content, and nothing else.

`tarfile` spends more on the header of a small file than writing the file costs, and copies contents three times.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator

_BLOCK = 512
_FILES = b"0\x00"  # type flags of a regular file
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"
_MOST_EXTRA = 1 << 20  # bytes that headers beyond the first may have


class TarReader:
    """The files of a TAR (ustar, PAX or GNU).

    Args:
        messages: the stream, cut anywhere; at most one piece of it is held.
    """

    def __init__(self, messages: Iterable[bytes]) -> None:
        self._messages = iter(messages)
        self._rest = memoryview(b"")
        self._size = 0  # bytes to come of the file in hand
        self._left = 0  # the same with its padding

    def files(self) -> Iterator[tuple[str, int]]:
        """Yield name and size in bytes of each file; read its content, or leave it, before asking for the next.

        Raises:
            tarfile.TarError: the stream is not a TAR, or breaks off.
        """
        pax: dict[str, str] = {}
        long_name = ""
        while header := self._header():
            kind = bytes(header[156:157])
            size = int(pax.get("size") or _number(header[124:136]))
            self._left = size + -size % _BLOCK
            if kind in (_PAX, _GNU_NAME):
                extra = self._extra(size)
                if kind == _PAX:
                    pax |= _pax(extra)
                else:
                    long_name = _text(extra)
                continue
            if kind in (_PAX_GLOBAL, _GNU_LINK):
                self._extra(size)
                continue
            name = pax.get("path") or long_name or _name(header)
            pax, long_name = {}, ""
            if kind in _FILES and not name.endswith("/"):
                self._size = size
                yield name, size
            self._skip()
        for _ in self._messages:
            pass  # padding; to its end: only there a stream reports success

    def content(self) -> Iterator[memoryview]:
        """Yield the content of the file in hand, in pieces as they came.

        Raises:
            tarfile.TarError: the stream breaks off.
        """
        while self._size:
            piece = self._take(self._size)
            self._size -= len(piece)
            self._left -= len(piece)
            yield piece

    def _skip(self) -> None:
        while self._left:
            self._left -= len(self._take(self._left))

    def _more(self) -> bool:
        while not self._rest:
            message = next(self._messages, None)
            if message is None:
                return False
            self._rest = memoryview(message)
        return True

    def _take(self, most: int) -> memoryview:
        if not self._more():
            raise tarfile.ReadError("unexpected end of data")
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece

    def _exactly(self, size: int) -> bytes | memoryview:
        piece = self._take(size)
        if len(piece) == size:
            return piece
        parts = [piece]
        missing = size - len(piece)
        while missing:
            parts.append(self._take(missing))
            missing -= len(parts[-1])
        return b"".join(parts)

    def _extra(self, size: int) -> bytes:
        if size > _MOST_EXTRA:
            raise tarfile.ReadError("a header is too long")
        extra = bytes(self._exactly(size))
        self._left -= size
        self._skip()
        return extra

    def _header(self) -> bytes | memoryview | None:
        if not self._more():
            return None  # the two empty blocks at the end are missing, as `tarfile` allows
        header = self._exactly(_BLOCK)
        filled = bytes(header).replace(b"\0", b"")  # most of a header is zeros, which add nothing
        if not filled:
            return None  # the end; what follows is padding
        checksum = _number(header[148:156])
        if checksum != sum(filled) - sum(header[148:156]) + 8 * ord(" "):
            raise tarfile.ReadError("bad checksum")
        return header


def _name(header: bytes | memoryview) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500])
    ustar = bytes(header[257:263]) == b"ustar\0"  # GNU keeps other things where ustar keeps the prefix
    return f"{prefix}/{name}" if ustar and prefix else name


def _text(data: bytes | memoryview) -> str:
    return bytes(data).partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _number(data: bytes | memoryview) -> int:
    if data[0] in (0o200, 0o377):
        return int.from_bytes(data[1:], "big") if data[0] == 0o200 else -1
    try:
        return int(_text(data).strip() or "0", 8)
    except ValueError as error:
        raise tarfile.ReadError("a number of a header cannot be read") from error


def _pax(extra: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    while extra:
        length, _, _ = extra.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(extra):
            raise tarfile.ReadError("a PAX header cannot be read")
        keyword, _, value = extra[len(length) + 1 : int(length) - 1].partition(b"=")
        found[keyword.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        extra = extra[int(length) :]
    return found
