"""File sets: changes that are staged first and added to a commit in one step."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from betterproto.lib.google.protobuf import Empty
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd import changes, operations, references, tables
from chandlery.embedded.pachd.calls import Call, rpc
from chandlery.embedded.pachd.database import now
from chandlery.embedded.pachd.failure import not_found, unknown
from chandlery.embedded.pachd.rpc.modify import record
from chandlery.embedded.pachd.tables import Connection

_DEFAULT_SECONDS = 600


@rpc("/pfs_v2.API/CreateFileSet", pfs.ModifyFileRequest, stream_in=True, parse=operations.from_wire)
def create_file_set(call: Call, requests: Iterator[Any]) -> Any:
    """Stage the operations of a stream; the file set lasts ten minutes unless renewed."""
    id_ = uuid.uuid4().hex
    with call.store.chunks.in_use():
        staged = record(call, (operations.from_message(request) for request in requests), id_)
        staged.spill()
        with call.store.database.writing() as db:
            db.execute("INSERT INTO file_set (id, expires) VALUES (?, ?)", (id_, _expiry(_DEFAULT_SECONDS)))
    return pfs.CreateFileSetResponse(file_set_id=id_)


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
    with call.store.work() as work:
        _require(work.db, request.file_set_id)
        work.db.execute(
            "UPDATE file_set SET expires = ? WHERE id = ?",
            (_expiry(request.ttl_seconds), request.file_set_id),
        )
    return Empty()


def _expiry(seconds: int) -> int:
    return now() + seconds * 1_000_000


def _require(db: Connection, id_: str) -> None:
    if not db.execute("SELECT 1 FROM file_set WHERE id = ? AND expires >= ?", (id_, now())).fetchone():
        raise not_found(f"file set {id_} not found")
