"""Checkouts: a commit's files on this machine, downloaded once, complete or absent, shared by many processes.

Layout below the artifacts folder:

    checkouts/<repo>/<commit>/         the files (a folder of a commit: <commit>-<digest of the path>/)
    checkouts/<repo>/<commit>.json     their sizes and SHA-256, written before the folder appears
    checkouts/<repo>/.<commit>.use     held by every process that uses it (`chandlery.processes.marks`)
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from chandlery import addresses
from chandlery.data import names
from chandlery.data.client import connect
from chandlery.data.errors import translated
from chandlery.data.references import Pinned, listed, resolve
from chandlery.data.tar import TarReader
from chandlery.errors import DataError, DeadlineError, NotFoundError
from chandlery.files import write_json
from chandlery.processes import marks
from chandlery.processes.locks import claim
from chandlery.progress import report

if TYPE_CHECKING:
    from pachyderm_sdk import Client

BLOCK = 1 << 20  # bytes; larger pieces are hashed in a thread of their own
READ_ONLY = 0o444  # files of the cache are shared through hard links


@dataclass(frozen=True, slots=True)
class Stored:
    """One file of a checkout: what it was when it was written.

    Attributes:
        size: bytes.
        sha256: hex digest of the content.
        modified: modification time in nanoseconds; a file whose size and time are the same is not read again.
    """

    size: int
    sha256: str
    modified: int

    def document(self) -> dict[str, int | str]:
        """Return the fields by name."""
        return {"size": self.size, "sha256": self.sha256, "modified": self.modified}


@dataclass(frozen=True)
class Checkout:
    """A complete checkout.

    Attributes:
        pinned: the commit.
        folder: the files.
        files: by path relative to `folder`.
    """

    pinned: Pinned
    folder: Path
    files: dict[str, Stored]

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(file.size for file in self.files.values())

    @property
    def content(self) -> str:
        """SHA-256 over names, sizes and contents: equal digests, equal datasets."""
        digest = hashlib.sha256()
        for path, file in sorted(self.files.items()):
            digest.update(os.fsencode(path) + f"\0{file.size}\0{file.sha256}\0".encode())
        return digest.hexdigest()


def checkout(repo: str, ref: str, path: str = "/", timeout: float = 3600.0) -> Path:
    """Return a folder with the files of a commit; see `fetch`. Treat it as read-only: others read it too."""
    return fetch(repo, ref, path, timeout).folder


def fetch(repo: str, ref: str, path: str = "/", timeout: float = 3600.0) -> Checkout:
    """Bring a commit's files to this machine, unless they are here already.

    Args:
        repo: `repo` or `project/repo`.
        ref: branch, commit id or ancestor.
        path: folder of the commit; its files come without it.
        timeout: seconds to wait for an open commit, for another process that fetches the same, and for the files.

    Raises:
        NotFoundError: no such repo, branch, commit or path; the hint names those that exist.
        DataError: the commit has an error, holds no file, or could not be written here (a full disk).
        DeadlineError: the wait was too long.
    """
    with connect(timeout) as client:
        pinned = resolve(client, repo, ref, timeout)
        source = names.folder(path)
        root = cache_folder() / Path(*repo.split("/"))
        key = pinned.commit if source == "/" else f"{pinned.commit}-{_short(source)}"
        _make(root)
        with _locked(root / f".{key}.lock", timeout):
            with _disk(root):
                marks.use(root / key)  # until this process ends: it may read the folder for as long
            found = _read(root, key, pinned)
            if found is None:
                found = _download(client, pinned, source, root, key)
                report(
                    "data.checkout",
                    f"checked out {pinned}:{source}, {len(found.files)} files, {found.bytes / 2**20:.1f} MiB",
                    repo=repo,
                    commit=pinned.commit,
                )
    return found


def cache_folder() -> Path:
    """Return where this machine keeps its checkouts."""
    ends = addresses.endpoints()
    # Buckets hold the results of steps; a checkout is of this machine.
    local = Path(ends.artifacts) if "://" not in ends.artifacts else ends.home / "artifacts"
    return local / "checkouts"


def link(found: Checkout, target: Path) -> None:
    """Make `target` a folder of the checkout's files: hard links, or copies where the file system has none.

    It stays valid when the cache is emptied.

    Raises:
        DataError: it could not be written.
    """
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        with _disk(target):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            folders: set[str] = set()
            for path in found.files:
                _make_parent(partial, path, folders)
                _link(f"{found.folder}/{path}", f"{partial}/{path}")
            shutil.rmtree(target, ignore_errors=True)
            os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _link(source: str, copy: str) -> None:
    try:
        os.link(source, copy)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(source, copy)


def _read(root: Path, key: str, pinned: Pinned) -> Checkout | None:
    folder = root / key
    if not folder.is_dir():
        return None
    try:
        written = json.loads((root / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    found = Checkout(pinned, folder, {path: Stored(**file) for path, file in written["files"].items()})
    for path, file in found.files.items():
        if not _intact(f"{folder}/{path}", file):
            report("data.damaged", f"{folder}/{path} is not what was checked out: fetching {pinned} again")
            return None
    return found


def _intact(path: str, file: Stored) -> bool:
    try:
        status = os.stat(path)
    except OSError:
        return False
    if status.st_size != file.size:
        return False
    return status.st_mtime_ns == file.modified or _sha256(path) == file.sha256


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(client: Client, pinned: Pinned, source: str, root: Path, key: str) -> Checkout:
    expected = _expected(client, pinned, source)
    for leftover in root.glob(f".{key}.partial-*"):  # of a killed process: we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    partial = root / f".{key}.partial-{os.getpid()}"
    try:
        with _disk(root):
            partial.mkdir()
            try:
                files = _unpack(client, pinned, source, partial)
            except tarfile.TarError as error:
                raise DataError(f"{pinned}:{source}: the stream broke off", "run again") from error
        found = Checkout(pinned, root / key, files)
        if not files or found.bytes != expected:
            raise DataError(
                f"{pinned}:{source}: got {found.bytes} of {expected} bytes", "the connection broke: run again"
            )
        with _disk(root):
            document = {"schema_version": 1, "files": {path: file.document() for path, file in files.items()}}
            write_json(root / f"{key}.json", document, indent=None)
            shutil.rmtree(root / key, ignore_errors=True)  # a damaged one
            os.replace(partial, root / key)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return found


def _expected(client: Client, pinned: Pinned, source: str) -> int:
    from pachyderm_sdk.api import pfs

    with translated(f"look up {pinned}:{source}"):
        try:
            info = client.pfs.inspect_file(file=pfs.File(commit=pinned.message(), path=source))
            return int(info.size_bytes)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
        top = client.pfs.list_file(file=pfs.File(commit=pinned.message(), path="/"))
        known = [names.decode(info.file.path) for info in top]
    if source == "/":
        raise DataError(f"{pinned} holds no file", "commit a dataset to it first")
    raise NotFoundError(f"no folder {source} in {pinned}", f"there: {listed(known)}")


def _unpack(client: Client, pinned: Pinned, source: str, folder: Path) -> dict[str, Stored]:
    from pachyderm_sdk.api import pfs

    files: dict[str, Stored] = {}
    folders: set[str] = set()
    reported, size = time.monotonic(), 0
    with translated(f"read {pinned}:{source}"), ThreadPoolExecutor(1) as pool:
        # One stream for all files: a call for each costs milliseconds, and datasets have many small files.
        stream = client.pfs.get_file_tar(
            file=pfs.File(commit=pinned.message(), path=source.rstrip("/") or "/")
        )
        reader = TarReader(message.value for message in stream)
        for name, _ in reader.files():
            path = names.decode(_below(source, "/" + name.lstrip("/")))
            if path in files or not _inside(path):
                raise DataError(
                    f"{pinned}: {name!r} cannot be written as a file of its own",
                    "another tool wrote names that differ only in their encoding: rename one",
                )
            _make_parent(folder, path, folders)
            files[path] = _store(reader.content(), f"{folder}/{path}", pool)
            size += files[path].size
            if time.monotonic() - reported > 5:
                reported = time.monotonic()
                report("data.progress", f"{len(files)} files, {size / 2**20:.0f} MiB read")
    return files


def _make_parent(root: Path, path: str, made: set[str]) -> None:
    parent = path.rpartition("/")[0]
    if parent not in made:
        os.makedirs(f"{root}/{parent}", exist_ok=True)
        made.add(parent)


def _below(source: str, path: str) -> str:
    if path == source.rstrip("/"):  # the path that was asked for is a file
        return path.rsplit("/", 1)[-1]
    return path.removeprefix(source)


def _store(content: Iterator[memoryview], target: str, pool: ThreadPoolExecutor) -> Stored:
    digest, size = hashlib.sha256(), 0
    hashing: Future[None] | None = None
    out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, READ_ONLY)
    try:
        for piece in content:
            size += len(piece)
            if hashing is not None:
                hashing.result()
                hashing = None
            if len(piece) < BLOCK:
                digest.update(piece)
            else:
                hashing = pool.submit(digest.update, piece)  # beside writing this piece, and reading the next
            while piece:
                piece = piece[os.write(out, piece) :]
        if hashing is not None:
            hashing.result()
        status = os.fstat(out)
        if stat.S_IMODE(status.st_mode) != READ_ONLY:  # for its umask
            os.fchmod(out, READ_ONLY)
    finally:
        os.close(out)
    return Stored(size, digest.hexdigest(), status.st_mtime_ns)


def _inside(path: str) -> bool:
    return not any(element in ("", ".", "..") for element in path.split("/"))


@contextmanager
def _locked(path: Path, timeout: float) -> Iterator[None]:
    # The kernel drops the lock when its process dies, however it dies.
    with _disk(path.parent):
        lock = claim(path)
    began = reported = time.monotonic()
    while lock is None:
        now = time.monotonic()
        if now - began > timeout:
            raise DeadlineError(
                f"{path} is locked by another process for {timeout:.0f} s", "is it stuck? end it, run again"
            )
        if now - reported > 10:
            reported = now
            report("data.wait", f"another process fetches the same commit ({now - began:.0f} s)")
        time.sleep(0.05)
        lock = claim(path)
    try:
        yield
    finally:
        os.close(lock)


def _make(folder: Path) -> None:
    with _disk(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _disk(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        hint = "check the folder and its permissions"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = f"free space, or set {addresses.VARIABLES['artifacts']} to a folder on a larger disk"
        raise DataError(f"{place}: {error.strerror or error}; nothing was left half-written", hint) from error


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
