"""Where datasets come from: a local path, `gs://`, `s3://`, `http(s)://`. One interface, streaming."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from chandlery.data.sources.source import CHUNK, Source, SourceFile
from chandlery.errors import UserError

__all__ = ["CHUNK", "Source", "SourceFile", "open_source"]

SCHEMES = ("a local path", "file://", "gs://", "s3://", "http://", "https://")


def open_source(address: str) -> Source:
    """Return the source that an address names; nothing is read yet.

    Raises:
        UserError: the address is empty or has an unknown scheme.
    """
    if not address.strip():
        raise UserError("source is empty", f"use {', '.join(SCHEMES)}")
    if "\0" in address:
        raise UserError(f"source {address!r} has a NUL character", f"use {', '.join(SCHEMES)}")
    try:
        parts = urlsplit(address)
    except ValueError as error:
        if "://" in address:
            raise UserError(f"source {address!r}: {error}", f"use {', '.join(SCHEMES)}") from error
    if "://" not in address:
        from chandlery.data.sources.local import LocalSource

        return LocalSource(Path(address))
    if parts.scheme == "file":
        from chandlery.data.sources.local import LocalSource

        return LocalSource(Path(unquote(parts.path)))
    if parts.scheme in ("s3", "gs"):
        # Not the URL's path: keys may hold '?' and '#'.
        bucket, _, key = address.split("://", 1)[1].partition("/")
        if not bucket:
            raise UserError(f"source {address!r} names no bucket", f"use {parts.scheme}://bucket/prefix")
        if parts.scheme == "s3":
            from chandlery.data.sources.s3 import S3Source

            return S3Source(bucket, key)
        from chandlery.data.sources.gcs import GcsSource

        return GcsSource(bucket, key)
    if parts.scheme in ("http", "https"):
        from chandlery.data.sources.http import HttpSource

        return HttpSource(address)
    raise UserError(f"source {address!r}: unknown scheme {parts.scheme!r}", f"use {', '.join(SCHEMES)}")
