"""One file behind an HTTP address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from chandlery.data.sources.local import changed
from chandlery.data.sources.source import CHUNK, SourceFile
from chandlery.errors import DataError, NotFoundError, PlatformError, UserError

if TYPE_CHECKING:
    import httpx


class HttpSource:
    """A file that is stored under the last element of the address's path."""

    cheap_to_read = False

    def __init__(self, address: str) -> None:
        """Name the address; nothing is read.

        Raises:
            UserError: its path does not end in a file name.
        """
        self.name = address
        self._file = unquote(urlsplit(address).path).rsplit("/", 1)[-1]
        if not self._file:
            raise UserError(
                f"source {address}: the address names no file", "give the address of a file, not of a page"
            )

    def entries(self) -> Iterator[SourceFile]:
        """Yield the file; see `Source.entries`."""
        with _answer("HEAD", self.name, {}) as head:
            if head.status_code in (403, 405, 501):  # this server has no HEAD: the GET shows it
                yield SourceFile(self._file, -1, "", partial(self._read, ""))
                return
            _check(self.name, head)
            etag = head.headers.get("etag", "")
            strong = "" if etag.startswith("W/") else etag
            size = int(head.headers.get("content-length", -1))
        yield SourceFile(self._file, size, strong, partial(self._read, strong), stamp=strong)

    def _read(self, etag: str) -> Iterator[bytes]:
        with _answer("GET", self.name, {"If-Match": etag} if etag else {}) as answer:
            if answer.status_code == 412 or (etag and answer.headers.get("etag", etag) != etag):
                raise changed(self.name)
            _check(self.name, answer)
            chunks = answer.iter_raw(CHUNK)
            while chunk := _next(self.name, chunks):
                yield chunk


@contextmanager
def _answer(method: str, address: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    import httpx

    # As stored, not compressed on the way: what is committed is what the address holds.
    headers = {"Accept-Encoding": "identity", **headers}
    client = httpx.Client(follow_redirects=True, timeout=httpx.Timeout(60, connect=10), headers=headers)
    with client:
        request = client.build_request(method, address)
        try:
            answer = client.send(request, stream=True)
        except httpx.InvalidURL as error:
            raise UserError(f"source {address}: {error}", "check the address") from error
        except httpx.RequestError as error:  # too many redirects among them
            raise PlatformError(
                f"source {address}: cannot be reached: {error or type(error).__name__}",
                "check the address and the network, then run again",
            ) from error
        try:
            yield answer
        finally:
            answer.close()


def _next(address: str, chunks: Iterator[bytes]) -> bytes:
    import httpx

    try:
        return next(chunks, b"")
    except httpx.HTTPError as error:
        raise DataError(
            f"source {address} broke off: {error or type(error).__name__}", "nothing was committed; run again"
        ) from error


def _check(address: str, answer: httpx.Response) -> None:
    if answer.status_code in (404, 410):
        raise NotFoundError(f"source {address}: HTTP {answer.status_code}", "check the address")
    if answer.status_code in (401, 403):
        raise PlatformError(
            f"source {address}: access refused (HTTP {answer.status_code})",
            "use an address that needs no login, a signed one, or copy the file to a bucket",
        )
    if not answer.is_success:
        raise DataError(f"source {address}: HTTP {answer.status_code}", "nothing was committed; run again")
