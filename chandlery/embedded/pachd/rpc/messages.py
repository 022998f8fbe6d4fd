"""Rows as the messages of the SDK. An answer's `Commit.branch` is always empty, as pachd's is."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd.store import tables, triggers, walk
from chandlery.embedded.pachd.store.tables import Branch, Commit, Connection, Repo


def time_of(microseconds: int) -> datetime:
    """Return a time column as the SDK has it."""
    return datetime.fromtimestamp(microseconds / 1e6, UTC)


def repo(row: Repo) -> Any:
    """Return the `Repo` message."""
    return pfs.Repo(name=row.name, type=row.type, project=pfs.Project(name=row.project))


def branch(db: Connection, row: Branch) -> Any:
    """Return the `Branch` message."""
    return pfs.Branch(name=row.name, repo=repo(tables.repo_by_pk(db, row.repo)))


def commit(db: Connection, row: Commit) -> Any:
    """Return the `Commit` message."""
    return pfs.Commit(id=row.id, repo=repo(tables.repo_by_pk(db, row.repo)))


def commit_of(db: Connection, pk: int) -> Any:
    """Return the `Commit` message of a row number."""
    return commit(db, tables.commit_by_pk(db, pk))


def repo_info(db: Connection, row: Repo, details: bool) -> Any:
    """Return the `RepoInfo` message; the size is that of the `master` branch, as in pachd."""
    master = tables.find_branch(db, row, "master")
    head = tables.head_of(db, master) if master else None
    size = head.size if head else 0
    info = pfs.RepoInfo(
        repo=repo(row),
        created=time_of(row.created),
        size_bytes_upper_bound=size,
        description=row.description,
        branches=[branch(db, each) for each in tables.branches(db, "repo = ?", row.pk)],
        metadata=tables.metadata_of(row.metadata),
    )
    if details:
        info.details = pfs.RepoInfoDetails(size_bytes=size)
    return info


def branch_info(db: Connection, row: Branch) -> Any:
    """Return the `BranchInfo` message."""
    direct = tables.branch_sources(db, row)
    info = pfs.BranchInfo(
        branch=branch(db, row),
        provenance=_branches(db, walk.nearest_first(db, [row], tables.branch_sources)),
        subvenance=_branches(db, walk.nearest_first(db, [row], tables.branch_dependants)),
        direct_provenance=_branches(db, direct),
        metadata=tables.metadata_of(row.metadata),
        created_at=time_of(row.created),
        updated_at=time_of(row.updated),
    )
    if row.head is not None:
        info.head = commit_of(db, row.head)
    trigger = triggers.trigger_of(db, row)
    if trigger:
        info.trigger = pfs.Trigger(
            branch=tables.branch_by_pk(db, trigger.source).name,
            size=trigger.size,
            commits=trigger.commits,
            all=trigger.all,
        )
    return info


def commit_info(db: Connection, row: Commit, details: bool = False) -> Any:
    """Return the `CommitInfo` message; `details` only of a finished commit."""
    info = pfs.CommitInfo(
        commit=commit(db, row),
        origin=pfs.CommitOrigin(kind=pfs.OriginKind(row.origin)),
        description=row.description,
        child_commits=[commit(db, child) for child in tables.commits(db, "parent = ?", row.pk)],
        started=time_of(row.started),
        direct_provenance=[commit(db, each) for each in tables.sources(db, row)],
        direct_subvenance=[commit(db, each) for each in tables.dependants(db, row)],
        error=row.error,
        size_bytes_upper_bound=row.size if row.finished else _open_size(db, row),
        metadata=tables.metadata_of(row.metadata),
        created_at=time_of(row.started),
        updated_at=time_of(row.updated),
    )
    if row.parent is not None:
        info.parent_commit = commit_of(db, row.parent)
    if row.finishing:
        info.finishing = time_of(row.finishing)
    if row.finished:
        info.finished = time_of(row.finished)
        if details:
            info.details = pfs.CommitInfoDetails(size_bytes=row.size)
    return info


def _open_size(db: Connection, row: Commit) -> int:
    return int(
        db.execute("SELECT coalesce(sum(size), 0) FROM entry WHERE layer = ?", (row.pk,)).fetchone()[0]
    )


def _branches(db: Connection, rows: Iterable[Branch]) -> list[Any]:
    return [branch(db, row) for row in rows]


def file_info(commit_message: Any, finishing: int, path: str, size: int, digest: bytes) -> Any:
    """Return the `FileInfo` message of a file, or of a directory when `path` ends with a slash."""
    return pfs.FileInfo(
        file=pfs.File(commit=commit_message, path=path, datum="" if path.endswith("/") else "default"),
        file_type=pfs.FileType.DIR if path.endswith("/") else pfs.FileType.FILE,
        committed=time_of(finishing),
        size_bytes=size,
        hash=digest,
    )
