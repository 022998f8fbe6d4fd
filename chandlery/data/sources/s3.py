"""Objects of an S3 bucket, at AWS or anywhere that speaks S3 (`AWS_ENDPOINT_URL`)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any

from chandlery.data.sources.local import changed
from chandlery.data.sources.source import CHUNK, SourceFile
from chandlery.errors import ChandleryError, DataError, NotFoundError, PlatformError

PAGE = 1000  # objects a listing asks for at a time; S3's own maximum


class S3Source:
    """The object with a key, or all objects below a prefix. Credentials are boto3's own."""

    cheap_to_read = False

    def __init__(self, bucket: str, key: str) -> None:
        """Name the bucket and the key or prefix; nothing is read."""
        self._bucket, self._key = bucket, key
        self.name = f"s3://{bucket}/{key}"

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(connect_timeout=10, read_timeout=60, retries={"max_attempts": 4, "mode": "standard"})
        # A session of our own: boto3's default one keeps the credentials that it first saw.
        return boto3.session.Session().client("s3", config=config)

    def entries(self) -> Iterator[SourceFile]:
        """Yield the objects; see `Source.entries`."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield from self._entries()
        except (BotoCoreError, ClientError) as error:
            raise _typed(self.name, error) from error

    def _entries(self) -> Iterator[SourceFile]:
        found = False
        prefix = self._key
        if prefix and not prefix.endswith("/"):
            for item in self._list(prefix, 1):
                if item["Key"] == prefix:
                    yield self._entry(prefix.rsplit("/", 1)[-1], item)
                    return
            prefix += "/"
        for item in self._list(prefix, 0):
            if not item["Key"].endswith("/"):  # a console's marker of an empty folder
                found = True
                yield self._entry(item["Key"][len(prefix) :], item)
        if not found:
            raise NotFoundError(f"source {self.name}: no object there", "check bucket and prefix")

    def _list(self, prefix: str, limit: int) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, PaginationConfig={"MaxItems": limit or None, "PageSize": PAGE}
        )
        for page in pages:
            yield from page.get("Contents", ())

    def _entry(self, path: str, item: dict[str, Any]) -> SourceFile:
        etag = str(item.get("ETag", ""))
        return SourceFile(path, int(item["Size"]), etag, partial(self._read, item["Key"], etag), stamp=etag)

    def _read(self, key: str, etag: str) -> Iterator[bytes]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            body = self._client.get_object(Bucket=self._bucket, Key=key, IfMatch=etag)["Body"]
            with body:
                yield from body.iter_chunks(CHUNK)
        except (BotoCoreError, ClientError) as error:
            raise _typed(f"s3://{self._bucket}/{key}", error) from error


def _typed(name: str, error: Exception) -> ChandleryError:
    from botocore.exceptions import ClientError, ConnectionError, NoCredentialsError

    if isinstance(error, NoCredentialsError):
        return PlatformError(
            f"source {name}: no AWS credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role"
        )
    if isinstance(error, ConnectionError):
        return PlatformError(f"source {name}: {error}", "check the network and AWS_ENDPOINT_URL")
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code == "PreconditionFailed" or code == "NoSuchKey":
            return changed(name)
        if code == "NoSuchBucket":
            return NotFoundError(f"source {name}: no such bucket", "check its name, region and endpoint")
        if status in (401, 403):
            return PlatformError(
                f"source {name}: access refused ({code})", "check the AWS credentials and the bucket's policy"
            )
    return DataError(f"source {name}: {error}", "nothing was committed; run again")
