"""ModifyFile, and the stream of operations that it shares with CreateFileSet."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import betterproto
from betterproto.lib.google.protobuf import Empty

from chandlery.embedded.pachd import graph, layers, paths, references, tables
from chandlery.embedded.pachd.calls import Call, rpc
from chandlery.embedded.pachd.changes import ChangeSet, Recorder
from chandlery.embedded.pachd.failure import invalid, not_found, unimplemented, unknown
from chandlery.embedded.pachd.tables import Commit, Connection

_URL_SECONDS = 60.0
_URL_PIECE = 1024 * 1024


@rpc("/pfs_v2.API/ModifyFile")
def modify_file(call: Call, requests: Iterator[Any]) -> Any:
    """Change files of a commit: the whole stream or, when it breaks off, nothing of it."""
    target = first_commit(requests)
    with call.store.chunks.in_use():
        changes = record(call, requests)
        try:
            with call.store.work() as work:
                commit_changes(work, target, changes)
        except BaseException:
            changes.discard()
            raise
    return Empty()


def first_commit(requests: Iterator[Any]) -> Any:
    """Return the commit that the first message of a stream names; raises ServiceError when it names none."""
    first = next(requests, None)
    if first is None or betterproto.which_one_of(first, "body")[0] != "set_commit":
        raise invalid("first message must set the commit")
    return first.set_commit


def record(call: Call, requests: Iterable[Any], file_set: str = "") -> ChangeSet:
    """Store the contents that a stream brings and return its changes, not yet made anywhere."""
    changes = ChangeSet(call.store.database, file_set)
    recorder = Recorder(call.store.chunks, changes)
    try:
        with closing(recorder):
            for request in requests:
                call.check()
                _record_one(call, recorder, request)
            recorder.finish()
    except BaseException:
        changes.discard()
        raise
    return changes


def commit_changes(work: graph.Work, target: Any, changes: ChangeSet) -> None:
    """Make changes in the open commit that `target` means, or in a commit of their own on its branch."""
    repo = references.commit_repo(work.db, target)
    branch_name = target.branch.name
    if not target.id and not branch_name:
        raise invalid("a commit must have an id or a branch")
    if not target.id or not (paths.is_commit_id(target.id) or set(target.id) & set("^~.")):
        # Named by its branch: the open commit there, or a new one for this stream alone.
        branch_name = target.id or branch_name
        branch = tables.find_branch(work.db, repo, branch_name)
        head = tables.commit_by_pk(work.db, branch.head) if branch and branch.head is not None else None
        if head is None or head.finishing:
            commit = graph.start_commit(work, repo, branch_name, None, "")
            changes.apply(work.db, commit)
            graph.finish_commit(work, tables.commit_by_pk(work.db, commit.pk))
            return
        commit = head
    else:
        commit = references.commit(work.db, target)
    if commit.finishing:
        raise unknown(f"commit {tables.name_of(work.db, commit)} has already finished")
    changes.apply(work.db, commit)


def _record_one(call: Call, recorder: Recorder, request: Any) -> None:
    kind, body = betterproto.which_one_of(request, "body")
    if kind == "add_file":
        paths.check_datum(body.datum)
        source, value = betterproto.which_one_of(body, "source")
        if source == "url":
            _fetch(recorder, body.path, value)
        else:
            recorder.add(body.path, value or b"")
    elif kind == "delete_file":
        paths.check_datum(body.datum)
        recorder.delete(body.path)
    elif kind == "copy_file":
        paths.check_datum(body.datum)
        with call.store.database.reading() as db:
            _copy(db, recorder, body)
    elif kind == "set_commit":
        raise invalid("only the first message may set the commit")
    else:
        raise invalid("a message must have one of add_file, delete_file and copy_file")


def _fetch(recorder: Recorder, path: str, source: Any) -> None:
    if source.recursive or not source.url.startswith(("http://", "https://")):
        raise unimplemented(
            f"AddFile from {source.url!r} (only single http and https URLs are fetched; this)"
        )
    recorder.add(path, b"")
    with urllib.request.urlopen(source.url, timeout=_URL_SECONDS) as response:
        while piece := response.read(_URL_PIECE):
            recorder.add(path, piece)


def _copy(db: Connection, recorder: Recorder, body: Any) -> None:
    commit: Commit = references.commit(db, body.src.commit)
    view = layers.view(db, commit)
    source, target = paths.clean(body.src.path), paths.clean(body.dst)
    entry = layers.lookup(db, view, source)
    if entry and entry.chunks is not None:
        recorder.put(paths.check_path(target), entry.size, entry.chunks, body.append)
        return
    directory = paths.as_directory(source)
    found = False
    for each in layers.scan(db, view, *paths.subtree(directory)):
        found = True
        inner = paths.check_path(paths.as_directory(target) + each.path[len(directory) :])
        recorder.put(inner, each.size, each.chunks or b"", body.append)
    if not found:
        raise not_found(f"file {source} not found in {tables.name_of(db, commit)}")
