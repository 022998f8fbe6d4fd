"""Commit a dataset: stream a source into one atomic commit that replaces a folder of a repo."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from chandlery import provenance
from chandlery.data import lease, names
from chandlery.data.client import connect
from chandlery.data.commits import DEFAULT_TIMEOUT, Writing, settled_head, writing
from chandlery.data.errors import translated
from chandlery.data.references import branch_message, repo_message
from chandlery.data.remembered import MOST_FILES, Content, Files, Known, content_of, recall, remember
from chandlery.data.sources import Source, SourceFile, open_source
from chandlery.data.sources.local import changed
from chandlery.errors import UserError
from chandlery.progress import report
from chandlery.provenance import Provenance

if TYPE_CHECKING:
    from pachyderm_sdk import Client
    from pachyderm_sdk.api import pfs


@dataclass(frozen=True)
class Committed:
    """Result of a commit.

    Attributes:
        repo: repo.
        branch: branch.
        commit: id of the commit that holds the data.
        changed: this run made that commit; False when the branch held the same content already.
        files: number of files of the dataset.
        bytes: their size together.
        content: SHA-256 over names, sizes and contents; empty where the source did not have to be read.
    """

    repo: str
    branch: str
    commit: str
    changed: bool
    files: int
    bytes: int
    content: str


@dataclass
class SourceTally:
    """Files of a source that have been read so far.

    Attributes:
        files: files read.
        size: bytes read.
        content: digest over names, sizes and contents.
        versions: digest over names, sizes and versions; None as soon as one file has no version.
        known: the files themselves, as long as they are few enough to be remembered.
    """

    files: int = 0
    size: int = 0
    content: Content = field(default_factory=Content)
    versions: hashlib._Hash | None = field(default_factory=hashlib.sha256)
    known: Files = field(default_factory=dict)

    def add(self, entry: SourceFile, size: int, digest: bytes) -> None:
        """Count one file."""
        self.files += 1
        self.size += size
        self.content.add(entry.path, size, digest)
        if self.files <= MOST_FILES + 1:
            self.known[entry.path] = Known(size, digest, entry.stamp)
        self.note_version(entry)

    def note_version(self, entry: SourceFile) -> None:
        """Note a file's version, without its content."""
        if not entry.version:
            self.versions = None
        if self.versions is not None:
            text = f"{names.encode(entry.path)}\0{entry.size}\0{entry.version}\0"
            self.versions.update(text.encode())

    def fingerprint(self) -> str:
        """Return the digest over versions; empty when there are none."""
        return self.versions.hexdigest() if self.versions is not None and self.files else ""


def commit(
    source: str,
    repo: str,
    branch: str = "master",
    path: str = "/",
    message: str = "",
    force: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
    record: Provenance | None = None,
) -> Committed:
    """Commit a source, so that folder `path` of the branch holds exactly its files.

    The folder is replaced within one write: no reader sees a part of it, no file of the earlier version stays. Names
    that Pachyderm refuses are encoded (`chandlery.data.names`); `checkout` decodes them. Memory stays bounded
    whatever the size. Empty folders are not kept.

    Args:
        source: local file or folder, `gs://bucket/prefix`, `s3://bucket/prefix`, `http(s)://host/file`.
        repo: `repo` or `project/repo`; created when missing.
        branch: branch; created when missing.
        path: folder of the repo that is replaced.
        message: a person's message about the commit.
        force: make a new commit even when the content is the same.
        timeout: seconds for all of it.
        record: provenance of the data; default: from the environment.

    Raises:
        UserError: a name, path or address is not valid, or the source holds no file.
        NotFoundError: there is no such source.
        ConflictError: another writer held the branch all the time.
        DataError: the source changed while it was read, or the data could not be written.
        DeadlineError: it took longer than `timeout`.
    """
    opened = open_source(source)
    target = names.folder(path)
    repo_message(repo), branch_message(repo, branch)
    remembered = recall(opened.name)
    with connect(timeout) as client:
        listing = _list(opened, remembered)
        head = settled_head(client, repo, branch, time.monotonic() + timeout)
        described = lease.fields(head.description) if head is not None and not head.error else {}
        ours = head is not None and lease.same_step(head.description)
        compared = _Comparison()
        if described.get("path") == target and (ours or not force):
            compared = _compare(described, opened, listing, remembered)
        if head is not None and compared.same:
            report("data.unchanged", f"{repo}@{branch}: {source} is unchanged, {head.commit.id} holds it")
            files, size, content = int(described["files"]), int(described["bytes"]), str(described["content"])
            return Committed(repo, branch, head.commit.id, ours, files, size, content)
        where = f"{source} to {repo}@{branch}:{target}"
        tally = SourceTally()
        with writing(client, repo, branch, record or provenance.current(), message, timeout) as work:
            requests = _Requests(work, opened, target, tally, _base(work.parent, target, remembered))
            requests.send(client, f"commit {where}")
            content = tally.content.hexdigest()
            if compared.content is not None and content != compared.content:
                raise changed(opened.name)
            work.description = lease.describe(
                provenance.read_description(work.description),
                message,
                path=target,
                source=_public(source),
                content=content,
                versions=tally.fingerprint(),
                files=tally.files,
                bytes=tally.size,
            )
            if not force and requests.same(client):
                work.drop()
        remember(opened.name, tally.known)
        parent = work.parent
        commit_id = parent.commit.id if work.dropped and parent else work.commit.id
        report(
            "data.commit",
            f"{'unchanged' if work.dropped else 'committed'}: {where}, {tally.files} files, "
            f"{tally.size / 2**20:.1f} MiB, commit {commit_id}",
            repo=repo,
            branch=branch,
            commit=commit_id,
            files=tally.files,
            bytes=tally.size,
        )
        return Committed(repo, branch, commit_id, not work.dropped, tally.files, tally.size, content)


class _Requests:
    """The one stream of a commit.

    On nothing that is known it deletes the folder and adds file by file; on a `base`, the files that the folder holds
    in the parent commit, it replaces those that are not as they were, and deletes those that are gone.
    """

    def __init__(self, work: Writing, source: Source, target: str, tally: SourceTally, base: Files) -> None:
        self._work, self._source, self._target, self._tally, self._base = work, source, target, tally, base
        self._error: BaseException | None = None
        self._reported = time.monotonic()
        self._differs = False  # from `base`

    def send(self, client: Client, action: str) -> None:
        """Send the stream; raise what went wrong at the source rather than what grpc makes of it."""
        try:
            with translated(action):
                client.pfs.modify_file(self._guarded())
        except Exception:
            if self._error is not None:
                raise self._error from None
            raise

    def same(self, client: Client) -> bool:
        """Return, once all is sent, whether the folder holds what it holds in the parent commit."""
        return not self._differs if self._base else _same(client, self._work, self._target)

    def _guarded(self) -> Iterator[pfs.ModifyFileRequest]:
        # grpc reads the stream in a thread of its own and hides what that raises behind code UNKNOWN.
        try:
            yield from self._all()
        except GeneratorExit:
            raise
        except BaseException as error:
            self._error = error
            raise

    def _all(self) -> Iterator[pfs.ModifyFileRequest]:
        from pachyderm_sdk.api import pfs

        yield pfs.ModifyFileRequest(set_commit=self._work.commit)
        left = dict(self._base)
        if not self._base:
            yield pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path=self._target))
            if self._target != "/":  # a file may stand where the folder is to be
                yield pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path=self._target.rstrip("/")))
        for entry in self._source.entries():
            before = left.pop(entry.path, None)
            if before is not None and _unchanged(entry, before):
                self._tally.add(entry, before.size, before.sha256)
                self._report_progress(0)
                continue
            if before is not None:
                path = self._target + names.encode(entry.path)
                yield pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path=path))
            size, digest = yield from self._add(entry)
            if before is None or (size, digest) != (before.size, before.sha256):
                self._differs = True
        for path in left:
            self._differs = True
            yield pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path=self._target + names.encode(path)))
        if not self._tally.files:
            raise _empty(self._source)

    def _add(self, entry: SourceFile) -> Generator[pfs.ModifyFileRequest, None, tuple[int, bytes]]:
        from chandlery.data.adding import AddFile

        path = self._target + names.encode(entry.path)
        digest, size = hashlib.sha256(), 0
        for chunk in entry.read():
            size += len(chunk)
            digest.update(chunk)
            yield AddFile(path, chunk)
            self._report_progress(size)
        if not size:
            yield AddFile(path, b"")
        if entry.size not in (-1, size):
            raise changed(f"{self._source.name} ({entry.path}: {size} of {entry.size} bytes)")
        self._tally.add(entry, size, digest.digest())
        return size, digest.digest()

    def _report_progress(self, size: int) -> None:
        self._work.check_deadline()
        now = time.monotonic()
        if now - self._reported > 5:
            self._reported = now
            tally = self._tally
            report("data.progress", f"{tally.files} files, {(tally.size + size) / 2**20:.0f} MiB written")


def _unchanged(entry: SourceFile, before: Known | None) -> bool:
    return (
        before is not None and entry.stamp != "" and (entry.size, entry.stamp) == (before.size, before.stamp)
    )


def _base(parent: pfs.CommitInfo | None, target: str, remembered: Files) -> Files:
    # The remembered files count only if the parent's digest shows that the folder holds exactly these.
    if parent is None or parent.error or not remembered:
        return {}
    described = lease.fields(parent.description)
    same = described.get("path") == target and described.get("content") == content_of(remembered)
    return remembered if same else {}


@dataclass(frozen=True)
class _Listing:
    """A source as it is listed, before anything is uploaded.

    Attributes:
        tally: files and their versions.
        size: bytes by the listing.
        content: the files' contents, when all of them are remembered; else None.
    """

    tally: SourceTally
    size: int
    content: SourceTally | None


@dataclass(frozen=True)
class _Comparison:
    """Result of comparing a source with a branch's head.

    Attributes:
        same: the head holds this very content.
        content: digest of the source's content, where the comparison had to compute it; else None. A source that
            changes between the two passes is noticed by it.
    """

    same: bool = False
    content: str | None = None


def _list(source: Source, remembered: Files) -> _Listing:
    listed, tally = SourceTally(), SourceTally()
    size, complete = 0, source.cheap_to_read
    for entry in source.entries():
        listed.files += 1
        listed.note_version(entry)
        names.encode(entry.path)  # refused here, before there is a repo
        size += entry.size
        before = remembered.get(entry.path)
        if complete and before is not None and _unchanged(entry, before):
            tally.add(entry, before.size, before.sha256)
        else:
            complete = False
    if not listed.files:
        raise _empty(source)
    return _Listing(listed, size, tally if complete else None)


def _compare(
    described: Mapping[str, Any], source: Source, listing: _Listing, remembered: Files
) -> _Comparison:
    """Compare a source with the description of the commit that last wrote the folder."""
    if not source.cheap_to_read:
        return _Comparison(described.get("versions") == listing.tally.fingerprint() != "")
    if (described.get("files"), described.get("bytes")) != (listing.tally.files, listing.size):
        return _Comparison()
    tally = listing.content or _read_all(source, remembered)
    content = tally.content.hexdigest()
    same = described.get("content") == content
    if same and listing.content is None:
        remember(source.name, tally.known)
    return _Comparison(same, content)


def _read_all(source: Source, remembered: Files) -> SourceTally:
    tally = SourceTally()
    for entry in source.entries():
        before = remembered.get(entry.path)
        if before is not None and _unchanged(entry, before):
            tally.add(entry, before.size, before.sha256)
            continue
        digest, size = hashlib.sha256(), 0
        for chunk in entry.read():
            digest.update(chunk)
            size += len(chunk)
        tally.add(entry, size, digest.digest())
    return tally


def _same(client: Client, work: Writing, target: str) -> bool:
    # The server compares by its own hashes; exact for whatever wrote the parent.
    from pachyderm_sdk.api import pfs

    if work.parent is None or work.parent.error:
        return False
    with translated(f"compare with {work.parent.commit.id}"):
        differences = client.pfs.diff_file(
            new_file=pfs.File(commit=work.commit, path=target),
            old_file=pfs.File(commit=work.parent.commit, path=target),
        )
        return next(iter(differences), None) is None


def _public(source: str) -> str:
    # A signed address holds a secret in its query, another one a password before the host.
    parts = urlsplit(source)
    if parts.scheme not in ("http", "https"):
        return source
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _empty(source: Source) -> UserError:
    return UserError(f"source {source.name} holds no file", "an empty dataset cannot be committed")
