"""ModifyFile, and the stream of operations that it shares with CreateFileSet."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from betterproto.lib.google.protobuf import Empty
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd.rpc import operations, references
from chandlery.embedded.pachd.rpc.calls import Call, rpc
from chandlery.embedded.pachd.rpc.operations import Add, AddUrl, Copy, Delete, Operation, SetCommit
from chandlery.embedded.pachd.store import graph, layers, paths, tables
from chandlery.embedded.pachd.store.changes import ChangeSet, Recorder
from chandlery.embedded.pachd.store.failure import invalid, unimplemented, unknown
from chandlery.embedded.pachd.store.tables import Commit, Connection

_URL_SECONDS = 60.0
_URL_PIECE = 1024 * 1024


@rpc("/pfs_v2.API/ModifyFile", pfs.ModifyFileRequest, stream_in=True, parse=operations.from_wire)
def modify_file(call: Call, requests: Iterator[Any]) -> Any:
    """Change files of a commit: the whole stream or, when it breaks off, nothing of it."""
    stream = (operations.from_message(request) for request in requests)
    first = next(stream, None)
    if not isinstance(first, SetCommit):
        raise unknown("first message must be a commit")
    with call.store.chunks.in_use():
        changes = read_changes(call, stream)
        try:
            with call.store.work() as work:
                commit_changes(work, first.commit, changes)
        except BaseException:
            changes.discard()
            raise
    return Empty()


def read_changes(call: Call, stream: Iterator[Operation], file_set: str = "") -> ChangeSet:
    """Store the contents that a stream brings and return its changes, not yet made anywhere.

    Args:
        call: the call that brings it.
        stream: the operations.
        file_set: id of the file set that the changes become; empty when they are for a commit.
    """
    changes = ChangeSet(call.store.database, file_set)
    recorder = Recorder(call.store.chunks, changes, apart=bool(file_set))
    try:
        with closing(recorder):
            for operation in stream:
                call.check()
                _record_one(call, recorder, operation)
            # A client that went away ends the stream as one that is done does.
            call.check()
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
        head = tables.head_of(work.db, branch) if branch else None
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


def _record_one(call: Call, recorder: Recorder, operation: Operation) -> None:
    if isinstance(operation, SetCommit):
        raise unknown("cannot set commit")
    paths.check_datum(operation.datum)
    if isinstance(operation, Add):
        recorder.add(operation.path, operation.data)
    elif isinstance(operation, Delete):
        recorder.delete(paths.check_signs(operation.path))
    elif isinstance(operation, AddUrl):
        _fetch(call, recorder, operation)
    else:
        with call.store.database.reading() as db:
            _copy(db, recorder, operation)


def _fetch(call: Call, recorder: Recorder, operation: AddUrl) -> None:
    if operation.recursive or not operation.url.startswith(("http://", "https://")):
        raise unimplemented(f"AddFile from {operation.url!r}, which is not a single http or https URL,")
    recorder.add(operation.path, b"")
    try:
        response = urllib.request.urlopen(operation.url, timeout=_URL_SECONDS)
    except urllib.error.HTTPError as error:
        raise unknown(f"{operation.url}: {error}") from error
    with response:
        while piece := response.read(_URL_PIECE):
            call.check()
            recorder.add(operation.path, piece)


def _copy(db: Connection, recorder: Recorder, operation: Copy) -> None:
    commit: Commit = references.commit(db, operation.source.commit)
    view = layers.view(db, commit)
    source, target = paths.clean(operation.source.path), paths.clean(operation.target)
    entry = layers.lookup(db, view, source)
    if entry and entry.chunks is not None:
        recorder.put(paths.check_path(target), entry.size, entry.chunks, operation.append)
        return
    # A source that is not there is no error: nothing is copied.
    directory = paths.as_directory(source)
    for each in layers.scan(db, view, *paths.subtree(directory)):
        inner = paths.check_path(paths.as_directory(target) + each.path[len(directory) :])
        recorder.put(inner, each.size, each.chunks or b"", operation.append)
