"""Objects of a Google Cloud Storage bucket."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any

from chandlery.data.sources.local import changed
from chandlery.data.sources.source import CHUNK, SourceFile
from chandlery.errors import ChandleryError, DataError, NotFoundError, PlatformError


class GcsSource:
    """The object with a name, or all objects below a prefix. Credentials are Google's application defaults."""

    cheap_to_read = False

    def __init__(self, bucket: str, key: str) -> None:
        """Name the bucket and the object or prefix; nothing is read."""
        self._bucket, self._key = bucket, key
        self.name = f"gs://{bucket}/{key}"

    @cached_property
    def _client(self) -> Any:
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud import storage

        try:
            return storage.Client()
        except DefaultCredentialsError as error:
            raise PlatformError(
                f"source {self.name}: no Google credentials",
                "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
            ) from error

    def entries(self) -> Iterator[SourceFile]:
        """Yield the objects; see `Source.entries`."""
        from google.api_core.exceptions import GoogleAPIError

        try:
            yield from self._entries()
        except GoogleAPIError as error:
            raise _typed(self.name, error) from error
        except OSError as error:
            raise _unreachable(self.name, error) from error

    def _entries(self) -> Iterator[SourceFile]:
        found = False
        prefix = self._key
        if prefix and not prefix.endswith("/"):
            for blob in self._client.list_blobs(self._bucket, prefix=prefix, max_results=1, timeout=60):
                if blob.name == prefix:
                    yield self._entry(prefix.rsplit("/", 1)[-1], blob)
                    return
            prefix += "/"
        for blob in self._client.list_blobs(self._bucket, prefix=prefix, timeout=60):
            if not blob.name.endswith("/"):  # a console's marker of an empty folder
                found = True
                yield self._entry(blob.name[len(prefix) :], blob)
        if not found:
            raise NotFoundError(f"source {self.name}: no object there", "check bucket and prefix")

    def _entry(self, path: str, blob: Any) -> SourceFile:
        return SourceFile(
            path,
            int(blob.size),
            str(blob.generation),
            partial(self._read, blob.name, int(blob.size), blob.generation),
            stamp=str(blob.generation),
        )

    def _read(self, name: str, size: int, generation: int) -> Iterator[bytes]:
        from google.api_core.exceptions import GoogleAPIError, NotFound, PreconditionFailed

        blob = self._client.bucket(self._bucket).blob(name)
        address = f"gs://{self._bucket}/{name}"
        # Ranged reads of one generation: bounded memory, and each is retried by itself.
        for start in range(0, size, CHUNK):
            end = min(start + CHUNK, size) - 1
            try:
                yield blob.download_as_bytes(
                    start=start, end=end, if_generation_match=generation, checksum=None, timeout=60
                )
            except (PreconditionFailed, NotFound) as error:
                raise changed(address) from error
            except GoogleAPIError as error:
                raise _typed(address, error) from error
            except OSError as error:
                raise _unreachable(address, error) from error


def _typed(name: str, error: Exception) -> ChandleryError:
    from google.api_core.exceptions import Forbidden, NotFound, RetryError, ServiceUnavailable, Unauthorized

    if isinstance(error, NotFound):
        return NotFoundError(f"source {name}: no such bucket", "check its name and project")
    if isinstance(error, (Forbidden, Unauthorized)):
        return PlatformError(
            f"source {name}: access refused", "give the account the role roles/storage.objectViewer"
        )
    if isinstance(error, (RetryError, ServiceUnavailable)):
        return _unreachable(name, error)
    return DataError(f"source {name}: {error}", "nothing was committed; run again")


def _unreachable(name: str, error: Exception) -> PlatformError:
    # requests' errors are OSErrors.
    return PlatformError(
        f"source {name}: cannot be reached: {type(error).__name__}", "check the network, then run again"
    )
