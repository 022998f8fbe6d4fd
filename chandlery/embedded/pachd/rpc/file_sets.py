"""File sets: changes that are staged first and added to a commit in one step."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

from betterproto.lib.google.protobuf import Empty
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd.rpc import operations, references
from chandlery.embedded.pachd.rpc.calls import Call, rpc
from chandlery.embedded.pachd.rpc.modify import read_changes
from chandlery.embedded.pachd.rpc.reading import snapshot
from chandlery.embedded.pachd.store import changes, tables
from chandlery.embedded.pachd.store.database import now
from chandlery.embedded.pachd.store.failure import ServiceError, not_found, unimplemented, unknown
from chandlery.embedded.pachd.store.tables import Connection

_DEFAULT_SECONDS = 600
_MIN_SECONDS, _MAX_SECONDS = 1, 1800


@rpc("/pfs_v2.API/CreateFileSet", pfs.ModifyFileRequest, stream_in=True, parse=operations.from_wire)
def create_file_set(call: Call, requests: Iterator[Any]) -> Any:
    """Stage the operations of a stream; the file set lasts ten minutes unless renewed."""
    stream = (operations.from_message(request) for request in requests)
    with call.store.chunks.in_use():
        return _enter(call, read_changes(call, stream, uuid.uuid4().hex))


@rpc("/pfs_v2.API/AddFileSet", pfs.AddFileSetRequest)
def add_file_set(call: Call, request: Any) -> Any:
    """Make the changes of a file set in an open commit."""
    with call.store.chunks.in_use(), call.store.work() as work:
        _require(work.db, request.file_set_id)
        commit = references.commit(work.db, request.commit)
        if commit.finishing:
            raise unknown(f"commit {tables.name_of(work.db, commit)} has already finished")
        changes.apply(work.db, commit, changes.stored_changes(work.db, request.file_set_id))
    return Empty()


@rpc("/pfs_v2.API/RenewFileSet", pfs.RenewFileSetRequest)
def renew_file_set(call: Call, request: Any) -> Any:
    """Let a file set last for another `ttl_seconds`."""
    if not _MIN_SECONDS <= request.ttl_seconds <= _MAX_SECONDS:
        raise unknown(
            f"ttl ({request.ttl_seconds}) must be at least {_MIN_SECONDS} and at most {_MAX_SECONDS} seconds"
        )
    with call.store.work() as work:
        # Here alone pachd distinguishes an id that it does not know from a text that is not an id.
        known_form = len(request.file_set_id) == len(uuid.uuid4().hex)
        _require(work.db, request.file_set_id, not_found if known_form else unknown)
        work.db.execute(
            "UPDATE file_set SET expires = ? WHERE id = ?",
            (_expiry(request.ttl_seconds), request.file_set_id),
        )
    return Empty()


@rpc("/pfs_v2.API/GetFileSet", pfs.GetFileSetRequest)
def get_file_set(call: Call, request: Any) -> Any:
    """Stage all that a commit shows."""
    if request.type == pfs.GetFileSetRequestFileSetType.DIFF:
        raise unimplemented("GetFileSet of what a commit changed (DIFF)")
    staged = changes.ChangeSet(call.store.database, uuid.uuid4().hex)
    with snapshot(call, request.commit) as found:
        for entry in found.entries():
            staged.add(changes.Change(changes.Effect.APPEND, entry.path, entry.size, entry.chunks or b""))
        return _enter(call, staged)


@rpc("/pfs_v2.API/ComposeFileSet", pfs.ComposeFileSetRequest)
def compose_file_set(call: Call, request: Any) -> Any:
    """Stage the changes of several file sets, one after the other, as one."""
    staged = changes.ChangeSet(call.store.database, uuid.uuid4().hex)
    with call.store.chunks.in_use(), call.store.database.reading() as db:
        for id_ in request.file_set_ids:
            _require(db, id_)
            for change in changes.stored_changes(db, id_):
                staged.add(change)
        return _enter(call, staged, request.ttl_seconds)


def _enter(call: Call, staged: changes.ChangeSet, seconds: int = _DEFAULT_SECONDS) -> Any:
    staged.spill()
    with call.store.database.writing() as db:
        db.execute("INSERT INTO file_set (id, expires) VALUES (?, ?)", (staged.id, _expiry(seconds)))
    return pfs.CreateFileSetResponse(file_set_id=staged.id)


def _expiry(seconds: int) -> int:
    return now() + seconds * 1_000_000


def _require(db: Connection, id_: str, refusal: Callable[[str], ServiceError] = unknown) -> None:
    if not db.execute("SELECT 1 FROM file_set WHERE id = ? AND expires >= ?", (id_, now())).fetchone():
        raise refusal(f"file set {id_} does not exist")
