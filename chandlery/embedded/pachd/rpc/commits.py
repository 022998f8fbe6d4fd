"""Commits and commit sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

from betterproto.lib.google.protobuf import Empty
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd.rpc import messages, references
from chandlery.embedded.pachd.rpc.calls import Call, rpc
from chandlery.embedded.pachd.store import graph, layers, paths, tables, walk
from chandlery.embedded.pachd.store.database import version
from chandlery.embedded.pachd.store.failure import (
    ServiceError,
    invalid,
    not_found,
    unimplemented,
    unknown,
)
from chandlery.embedded.pachd.store.tables import Commit, Connection, State

Step = Callable[[Connection, Commit], list[Commit]]


def start_commit_in(work: graph.Work, request: Any) -> Any:
    """Start a commit within a transaction; returns its message."""
    if not request.branch.name:
        raise invalid("a commit must be started on a branch")
    repo = references.repo(work.db, request.branch.repo)
    parent = None
    if request.parent.id or request.parent.branch.name:
        parent = references.commit(work.db, request.parent)
    commit = graph.start_commit(work, repo, request.branch.name, parent, request.description)
    return messages.commit(work.db, commit)


@rpc(
    "/pfs_v2.API/StartCommit",
    pfs.StartCommitRequest,
    joins="start_commit",
    work=start_commit_in,
    joined=lambda commit: commit,
)
def start_commit(call: Call, request: Any) -> Any:
    """Start a commit; the branch's head is this commit from now on."""
    with call.store.work() as work:
        return start_commit_in(work, request)


def finish_commit_in(work: graph.Work, request: Any) -> None:
    """Finish a commit within a transaction."""
    commit = references.commit(work.db, request.commit)
    graph.finish_commit(work, commit, request.description, request.error)


@rpc("/pfs_v2.API/FinishCommit", pfs.FinishCommitRequest, joins="finish_commit", work=finish_commit_in)
def finish_commit(call: Call, request: Any) -> Any:
    """Finish a commit."""
    with call.store.chunks.in_use():
        _rechunk_before_writing(call, request.commit)
        with call.store.work() as work:
            finish_commit_in(work, request)
    if request.error:
        call.store.collect()
    return Empty()


def _rechunk_before_writing(call: Call, message: Any) -> None:
    # Reading and chunking large files again may take long; here it does not block writers.
    with call.store.database.reading() as db:
        commit = references.commit(db, message)
        in_pieces = db.execute(
            "SELECT path, chunks FROM entry WHERE layer = ? AND whole = 0", (commit.pk,)
        ).fetchall()
        rechunked = [
            (path, old, *call.store.chunks.rechunk(db, old))
            for path, old in in_pieces
            if not commit.finishing
        ]
    if rechunked:
        with call.store.database.writing() as db:
            for path, old, new, small in rechunked:
                graph.insert_small(db, small)
                db.execute(
                    "UPDATE entry SET chunks = ?, whole = 1 WHERE layer = ? AND path = ? AND chunks = ?",
                    (new, commit.pk, path, old),
                )


@rpc("/pfs_v2.API/ClearCommit", pfs.ClearCommitRequest)
def clear_commit(call: Call, request: Any) -> Any:
    """Drop what was written into an open commit."""
    with call.store.work() as work:
        graph.clear_commit(work, references.commit(work.db, request.commit))
    return Empty()


@rpc("/pfs_v2.API/InspectCommit", pfs.InspectCommitRequest)
def inspect_commit(call: Call, request: Any) -> Any:
    """Describe a commit, once it has reached the state that `wait` names."""
    with call.store.database.connection() as db:
        found = references.commit(db, request.commit)
        found = _wait(call, db, found, State(request.wait or State.STARTED))
        return messages.commit_info(db, found, details=True)


@rpc("/pfs_v2.API/ListCommit", pfs.ListCommitRequest)
def list_commit(call: Call, request: Any) -> Iterator[Any]:
    """Describe the commits of a repo, newest first; or a line of ancestors from `to` back to before `from`."""
    if request.started_time is not None and request.started_time.timestamp() > 0:
        raise unimplemented("ListCommit with started_time")
    with call.store.database.reading() as db:
        found = _listed(db, request)
        if request.reverse:
            found = iter(reversed(list(found)))
        left = request.number or -1
        for commit in found:
            if not request.all and request.origin_kind and commit.origin != int(request.origin_kind):
                continue
            if left == 0:
                return
            left -= 1
            yield messages.commit_info(db, commit)


def _listed(db: Connection, request: Any) -> Iterator[Commit]:
    has_from = bool(request.from_.id or request.from_.branch.name)
    if request.to.id or request.to.branch.name:
        if request.reverse:
            raise unknown("cannot use 'Reverse' while also using 'From' or 'To'")
        until = references.commit(db, request.from_).pk if has_from else None
        line = tables.line(db, references.commit(db, request.to))
        yield from takewhile(lambda commit: commit.pk != until, line)
        return
    if has_from:
        raise unknown("cannot use `from` commit without `to` commit")
    if request.repo.name:
        yield from tables.commits(db, "repo = ?", references.repo(db, request.repo).pk, order="pk DESC")
    else:
        yield from tables.commits(db, "true", order="pk DESC")


@rpc("/pfs_v2.API/SubscribeCommit", pfs.SubscribeCommitRequest)
def subscribe_commit(call: Call, request: Any) -> Iterator[Any]:
    """Describe all commits of a repo in the order of their creation, then new ones, for ever."""
    wanted = State(request.state or State.STARTED)
    with call.store.database.connection() as db:
        repo = references.repo(db, request.repo)
        skipped = (
            references.commit(db, request.from_).pk if request.from_.id or request.from_.branch.name else None
        )
        last = 0
        while True:
            seen = version(db)
            for commit in list(tables.commits(db, "repo = ? AND pk > ?", repo.pk, last)):
                last = commit.pk
                if commit.pk == skipped or (request.branch and commit.branch != request.branch):
                    continue
                if not request.all and request.origin_kind and commit.origin != int(request.origin_kind):
                    continue
                try:
                    reached = _wait(call, db, commit, wanted)
                except _GoneError:
                    continue
                yield messages.commit_info(db, reached)
            call.wait_for_change(db, seen)
            if tables.find_repo(db, repo.project, repo.name, repo.type) != repo:
                raise not_found(f"repo {repo} not found")


@rpc("/pfs_v2.API/DropCommit", pfs.DropCommitRequest)
def drop_commit(call: Call, request: Any) -> Any:
    """Remove a commit that has no children."""
    with call.store.work() as work:
        graph.drop_commit(work, references.commit(work.db, request.commit), request.recursive)
    call.store.collect()
    return pfs.DropCommitResponse()


@rpc("/pfs_v2.API/SquashCommit", pfs.SquashCommitRequest)
def squash_commit(call: Call, request: Any) -> Any:
    """Remove a commit, leaving what it changed to its children."""
    with call.store.work() as work:
        graph.squash_commit(work, references.commit(work.db, request.commit), request.recursive)
    call.store.collect()
    return pfs.SquashCommitResponse()


@rpc("/pfs_v2.API/InspectCommitSet", pfs.InspectCommitSetRequest)
def inspect_commit_set(call: Call, request: Any) -> Iterator[Any]:
    """Describe the commits of a set and what they came from, upstream first; each once finished with `wait`."""
    with call.store.database.connection() as db:
        for commit in _with_provenance(db, request.commit_set.id):
            reached = _wait(call, db, commit, State.FINISHED if request.wait else State.STARTED)
            yield messages.commit_info(db, reached)


@rpc("/pfs_v2.API/ListCommitSet", pfs.ListCommitSetRequest)
def list_commit_set(call: Call, request: Any) -> Iterator[Any]:
    """Describe the commit sets, the newest first; those with a commit in `project` if that is given."""
    with call.store.database.reading() as db:
        for (id_,) in db.execute("SELECT id FROM commits GROUP BY id ORDER BY max(pk) DESC").fetchall():
            projects = {tables.repo_by_pk(db, commit.repo).project for commit in _commit_set(db, id_)}
            if not request.project.name or request.project.name in projects:
                yield pfs.CommitSetInfo(
                    commit_set=pfs.CommitSet(id=id_),
                    commits=[messages.commit_info(db, each) for each in _with_provenance(db, id_)],
                )


@rpc("/pfs_v2.API/DropCommitSet", pfs.DropCommitSetRequest)
def drop_commit_set(call: Call, request: Any) -> Any:
    """Drop every commit of a set."""
    with call.store.work() as work:
        for commit in reversed(_commit_set(work.db, request.commit_set.id)):
            graph.drop_commit(work, commit, recursive=False)
    call.store.collect()
    return Empty()


@rpc("/pfs_v2.API/SquashCommitSet", pfs.SquashCommitSetRequest)
def squash_commit_set(call: Call, request: Any) -> Any:
    """Squash every commit of a set."""
    with call.store.work() as work:
        for commit in reversed(_commit_set(work.db, request.commit_set.id)):
            graph.squash_commit(work, commit, recursive=False)
    call.store.collect()
    return Empty()


@rpc("/pfs_v2.API/FindCommits", pfs.FindCommitsRequest)
def find_commits(call: Call, request: Any) -> Iterator[Any]:
    """Find the ancestors of a commit, itself included, that changed a file."""
    path = _file_path(request.file_path)
    searched = found = 0
    with call.store.chunks.in_use(), call.store.database.reading() as db:
        commit: Commit | None = references.commit(db, request.start)
        last = commit
        while commit is not None and (not request.limit or found < request.limit):
            call.check()
            if not commit.finished:
                raise ServiceError(
                    StatusCode.UNAVAILABLE, f"commit {tables.name_of(db, commit)} not finished"
                )
            parent = tables.parent_of(db, commit)
            now, before = _content(db, commit, path), _content(db, parent, path) if parent else None
            if now != before:
                found += 1
                yield pfs.FindCommitsResponse(
                    found_commit=messages.commit(db, commit), commits_searched=searched
                )
            searched += 1
            last, commit = commit, parent
        assert last is not None
        yield pfs.FindCommitsResponse(
            last_searched_commit=messages.commit(db, last), commits_searched=searched
        )


def _file_path(path: str) -> str:
    if not path.strip("/"):
        raise invalid("a file path is required")
    return paths.clean(path)


@rpc("/pfs_v2.API/WalkCommitProvenance", pfs.WalkCommitProvenanceRequest)
def walk_commit_provenance(call: Call, request: Any) -> Iterator[Any]:
    """Describe what commits came from, the nearest first."""
    with call.store.database.reading() as db:
        for commit in _reached(db, request, tables.sources):
            yield messages.commit_info(db, commit)


@rpc("/pfs_v2.API/WalkCommitSubvenance", pfs.WalkCommitSubvenanceRequest)
def walk_commit_subvenance(call: Call, request: Any) -> Iterator[Any]:
    """Describe what came from commits, the nearest first."""
    with call.store.database.reading() as db:
        for commit in _reached(db, request, tables.dependants):
            yield messages.commit_info(db, commit)


def _reached(db: Connection, request: Any, step: Step) -> Iterator[Commit]:
    starts = (references.commit(db, picker) for picker in request.start)
    return walk.nearest_first(db, starts, step, request.max_depth, request.max_commits)


def _content(db: Connection, commit: Commit, path: str) -> bytes | None:
    entry = layers.lookup(db, layers.view(db, commit), path)
    return entry.chunks if entry else None


def _commit_set(db: Connection, id_: str) -> list[Commit]:
    return list(tables.commits(db, "id = ?", id_))


def _with_provenance(db: Connection, id_: str) -> list[Commit]:
    """Return the commits of a set and all that they came from, upstream first."""
    ordered: dict[int, Commit] = {}

    def enter(commit: Commit) -> None:
        if commit.pk not in ordered:
            for source in tables.sources(db, commit):
                enter(source)
            ordered[commit.pk] = commit

    for commit in _commit_set(db, id_):
        enter(commit)
    return list(ordered.values())


class _GoneError(ServiceError):
    """A commit was deleted while a call waited for it."""

    def __init__(self, name: str) -> None:
        super().__init__(StatusCode.NOT_FOUND, f"commit {name} not found")


def _wait(call: Call, db: Connection, commit: Commit, wanted: State) -> Commit:
    name = tables.name_of(db, commit)
    while True:
        seen = version(db)
        found = next(tables.commits(db, "pk = ?", commit.pk), None)
        if found is None:
            raise _GoneError(name)
        if tables.state_of(db, found) >= wanted:
            return found
        call.wait_for_change(db, seen)
