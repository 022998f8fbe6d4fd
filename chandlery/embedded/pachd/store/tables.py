"""Rows of the store as frozen records, and how to look them up."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from chandlery.embedded.pachd.store.failure import not_found

USER, AUTO = 1, 2  # where a commit comes from, as pfs_v2.OriginKind


class State(IntEnum):
    """How far a commit is, as pfs_v2.CommitState."""

    STARTED = 1
    READY = 2
    FINISHING = 3
    FINISHED = 4


@dataclass(frozen=True)
class Repo:
    """A repo; `created` in microseconds since the epoch."""

    pk: int
    project: str
    name: str
    type: str
    description: str
    created: int
    metadata: str

    def __str__(self) -> str:
        return f"{self.project}/{self.name}" + ("" if self.type == "user" else f".{self.type}")


@dataclass(frozen=True)
class Branch:
    """A branch; `repo` and `head` are row numbers, `head` is None only inside a transaction."""

    pk: int
    repo: int
    name: str
    head: int | None
    created: int
    updated: int
    metadata: str


@dataclass(frozen=True)
class Commit:
    """A commit. `rows` counts the entries of its own layer, `files` and `size` (bytes) what it shows in all."""

    pk: int
    repo: int
    id: str
    branch: str
    parent: int | None
    origin: int
    description: str
    started: int
    finishing: int
    finished: int
    updated: int
    error: str
    metadata: str
    cleared: bool
    below: int | None
    rows: int
    files: int
    size: int


_REPO = "pk, project, name, type, description, created, metadata"
_BRANCH = "pk, repo, name, head, created, updated, metadata"
_COMMIT = (
    "pk, repo, id, branch, parent, origin, description, started, finishing, finished, updated, error, metadata, "
    "cleared, below, rows, files, size"
)

Connection = sqlite3.Connection


def find_repo(db: Connection, project: str, name: str, type_: str = "user") -> Repo | None:
    """Return a repo, or None."""
    row = db.execute(
        f"SELECT {_REPO} FROM repo WHERE project = ? AND name = ? AND type = ?",
        (project, name, type_ or "user"),
    ).fetchone()
    return Repo(*row) if row else None


def repo_by_pk(db: Connection, pk: int) -> Repo:
    """Return the repo of a row number that is known to exist."""
    return Repo(*db.execute(f"SELECT {_REPO} FROM repo WHERE pk = ?", (pk,)).fetchone())


def repos(db: Connection) -> list[Repo]:
    """Return all repos in the order of project, then name."""
    return [Repo(*row) for row in db.execute(f"SELECT {_REPO} FROM repo ORDER BY project, name, type")]


def find_branch(db: Connection, repo: Repo, name: str) -> Branch | None:
    """Return a branch, or None."""
    row = db.execute(f"SELECT {_BRANCH} FROM branch WHERE repo = ? AND name = ?", (repo.pk, name)).fetchone()
    return Branch(*row) if row else None


def require_branch(db: Connection, repo: Repo, name: str) -> Branch:
    """Return a branch; raises ServiceError NOT_FOUND."""
    branch = find_branch(db, repo, name)
    if branch is None:
        raise not_found(f"branch {repo}@{name} not found")
    return branch


def branch_by_pk(db: Connection, pk: int) -> Branch:
    """Return the branch of a row number that is known to exist."""
    return Branch(*db.execute(f"SELECT {_BRANCH} FROM branch WHERE pk = ?", (pk,)).fetchone())


def branches(db: Connection, where: str, *values: object) -> list[Branch]:
    """Return the branches that fulfil an SQL condition, oldest first."""
    return [
        Branch(*row) for row in db.execute(f"SELECT {_BRANCH} FROM branch WHERE {where} ORDER BY pk", values)
    ]


def find_commit(db: Connection, repo: Repo, id_: str) -> Commit | None:
    """Return the commit of a set that is in a repo itself, or None."""
    return next(commits(db, "repo = ? AND id = ?", repo.pk, id_), None)


def commit_by_pk(db: Connection, pk: int) -> Commit:
    """Return the commit of a row number that is known to exist."""
    return Commit(*db.execute(f"SELECT {_COMMIT} FROM commits WHERE pk = ?", (pk,)).fetchone())


def parent_of(db: Connection, commit: Commit) -> Commit | None:
    """Return the parent of a commit; None for a first commit."""
    return None if commit.parent is None else commit_by_pk(db, commit.parent)


def head_of(db: Connection, branch: Branch) -> Commit | None:
    """Return the head of a branch; None inside the transaction that makes the branch."""
    return None if branch.head is None else commit_by_pk(db, branch.head)


def line(db: Connection, commit: Commit) -> Iterator[Commit]:
    """Yield a commit, then its ancestors, the nearest first."""
    at: Commit | None = commit
    while at is not None:
        yield at
        at = parent_of(db, at)


def commits(db: Connection, where: str, *values: object, order: str = "pk") -> Iterator[Commit]:
    """Yield the commits that fulfil an SQL condition, oldest first unless `order` says otherwise."""
    for row in db.execute(f"SELECT {_COMMIT} FROM commits WHERE {where} ORDER BY {order}", values):
        yield Commit(*row)


def sources(db: Connection, commit: Commit) -> list[Commit]:
    """Return the direct provenance of a commit."""
    return list(commits(db, "pk IN (SELECT source FROM commit_provenance WHERE commits = ?)", commit.pk))


def dependants(db: Connection, commit: Commit) -> list[Commit]:
    """Return the direct subvenance of a commit."""
    return list(commits(db, "pk IN (SELECT commits FROM commit_provenance WHERE source = ?)", commit.pk))


def branch_sources(db: Connection, branch: Branch) -> list[Branch]:
    """Return the direct provenance of a branch."""
    return branches(db, "pk IN (SELECT source FROM branch_provenance WHERE branch = ?)", branch.pk)


def branch_dependants(db: Connection, branch: Branch) -> list[Branch]:
    """Return the direct subvenance of a branch."""
    return branches(db, "pk IN (SELECT branch FROM branch_provenance WHERE source = ?)", branch.pk)


def state_of(db: Connection, commit: Commit) -> State:
    """Return how far a commit is; READY means that all its provenance is finished."""
    if commit.finished:
        return State.FINISHED
    if commit.finishing:
        return State.FINISHING
    return State.READY if all(source.finished for source in sources(db, commit)) else State.STARTED


def name_of(db: Connection, commit: Commit) -> str:
    """Return a commit as messages for people name it: `project/repo@id`."""
    return f"{repo_by_pk(db, commit.repo)}@{commit.id}"


def metadata_of(text: str) -> dict[str, str]:
    """Return a metadata column as a mapping."""
    return {str(key): str(value) for key, value in json.loads(text).items()}
