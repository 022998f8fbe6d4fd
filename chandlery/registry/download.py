"""Registered model packages on local disk: complete or absent, checked against their recorded checksums, fetched once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from chandlery.addresses import endpoints
from chandlery.errors import RegistryError
from chandlery.processes import marks
from chandlery.registry import registrations
from chandlery.registry.reader import RegistryReader
from chandlery.registry.versions import INDEX_TAG, VersionInfo, version_info

PACKAGE = "model"  # folder of the model package among a version's artifacts
INDEX = "files.json"  # path -> {sha256, size} of every artifact of a version


def download(model_name: str, version_or_alias: str) -> Path:
    """Return the folder of a registered version's model package; fetched when it is not there yet.

    It lies in `<artifacts>/models/<name>/<version>-<digest>` (`<home>/cache` when artifacts are kept in a bucket).

    Args:
        model_name: name of the registered model.
        version_or_alias: `3`, `champion`, ...

    Raises:
        NotFoundError: no such version; names those that exist.
        RegistryError: MLflow cannot be reached, or an artifact is damaged.
    """
    info = version_info(model_name, version_or_alias)
    target = cache_folder() / info.name / f"{info.version}-{info.digest[:16]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    marks.use(target)  # until this process ends: it may read the package for as long
    if target.is_dir():
        return target
    incoming = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        fetch(info, incoming, below=PACKAGE)
        _publish(incoming / PACKAGE, target)
    except BaseException:
        marks.abandon(target)
        raise
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return target


def cache_folder() -> Path:
    """Return where downloaded models are kept."""
    configured = endpoints()
    if "://" in configured.artifacts:
        return configured.home / "cache" / "models"
    return Path(configured.artifacts) / "models"


def fetch(info: VersionInfo, folder: Path, below: str = "") -> None:
    """Copy a version's artifacts to `folder`, those below `below` only when given, and check each against the index.

    Raises:
        RegistryError: MLflow or the store cannot be reached, or an artifact is missing or damaged.
    """
    scheme = urlsplit(info.source).scheme
    if scheme in ("", "file"):
        _copy(info, Path(unquote(urlsplit(info.source).path)), folder, below)
    elif scheme == "mlflow-artifacts":
        _stream(info, folder, below)
    else:
        _fetch_from_store(info, folder, below)


def _publish(complete: Path, target: Path) -> None:
    try:
        os.replace(complete, target)
    except OSError:
        # Another process was faster: a folder that is not empty cannot be replaced, and it holds the same files.
        if not target.is_dir():
            raise


def _stream(info: VersionInfo, folder: Path, below: str) -> None:
    # mlflow-artifacts:/1/models/m-3/artifacts names no host: the server that is asked serves it.
    root = unquote(urlsplit(info.source).path).strip("/")
    with RegistryReader() as reader:
        with reader.open_artifact(f"{root}/{INDEX}") as chunks:
            index = _index(info, b"".join(chunks))
        for path, entry in _wanted(index, below):
            with reader.open_artifact(f"{root}/{path}") as chunks:
                _write(info, folder / path, chunks, entry["sha256"])


def _copy(info: VersionInfo, root: Path, folder: Path, below: str) -> None:
    try:
        index = _index(info, (root / INDEX).read_bytes())
    except OSError as error:
        raise RegistryError(f"{info.uri}: {error}", "the artifact store must be mounted here") from error
    for path, entry in _wanted(index, below):
        with (root / path).open("rb") as source:
            _write(info, folder / path, iter(partial(source.read, 1 << 20), b""), entry["sha256"])


def _fetch_from_store(info: VersionInfo, folder: Path, below: str) -> None:
    # Buckets: MLflow's own artifact repositories know them all, and use each one's own credentials.
    from chandlery.registry.client import call, open_client

    open_client()
    from mlflow.artifacts import download_artifacts

    local = Path(call(download_artifacts, artifact_uri=info.source))
    _copy(info, local, folder, below)


def _index(info: VersionInfo, text: bytes) -> dict[str, dict[str, str]]:
    # A version of an earlier release has neither tag nor record; then the index finds damage alone.
    found = hashlib.sha256(text).hexdigest()
    expected = {info.tags.get(INDEX_TAG, ""), registrations.remembered(info.name, info.version)} - {""}
    if expected - {found}:
        raise RegistryError(
            f"{info.uri}: {INDEX} is not what was registered (its checksum differs)",
            "restore the artifact store, or register the model again",
        )
    try:
        index: dict[str, dict[str, str]] = json.loads(text)
    except ValueError as error:
        raise RegistryError(f"{info.uri}: damaged {INDEX}: {error}", "register the model again") from error
    return index


def _wanted(index: dict[str, dict[str, str]], below: str) -> Iterator[tuple[str, dict[str, str]]]:
    for path, entry in sorted(index.items()):
        if path.startswith("/") or ".." in path.split("/"):
            raise RegistryError(f"{INDEX} names {path!r}, outside of its folder", "register the model again")
        if not below or path.startswith(f"{below}/"):
            yield path, entry


def _write(info: VersionInfo, path: Path, chunks: Iterator[bytes], sha256: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with path.open("wb") as out:
        for chunk in chunks:
            digest.update(chunk)
            out.write(chunk)
    if digest.hexdigest() != sha256:
        raise RegistryError(
            f"{info.uri}: artifact {path.name} is not what was registered (its checksum differs)",
            "restore the artifact store, or register the model again",
        )
