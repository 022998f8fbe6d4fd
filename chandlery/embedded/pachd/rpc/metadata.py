"""EditMetadata: key and value pairs on projects, repos, branches and commits."""

from __future__ import annotations

import json
from typing import Any

import betterproto
from grpc import StatusCode
from pachyderm_sdk.api import metadata

from chandlery.embedded.pachd.rpc import references
from chandlery.embedded.pachd.rpc.calls import Call, rpc
from chandlery.embedded.pachd.store import tables
from chandlery.embedded.pachd.store.failure import (
    ServiceError,
    invalid,
    not_found,
    unimplemented,
    unknown,
)
from chandlery.embedded.pachd.store.tables import Connection


@rpc("/metadata.API/EditMetadata", metadata.EditMetadataRequest)
def edit_metadata(call: Call, request: Any) -> Any:
    """Make all the edits, or none."""
    with call.store.work() as work:
        for edit in request.edits:
            try:
                table, column, key = _target(work.db, edit)
            except ServiceError as error:
                # A target that is not there is a plain error of pachd here.
                raise (unknown(error.text) if error.code is StatusCode.NOT_FOUND else error) from error
            (text,) = work.db.execute(f"SELECT metadata FROM {table} WHERE {column} = ?", (key,)).fetchone()
            after = _edited(tables.metadata_of(text), edit)
            work.db.execute(
                f"UPDATE {table} SET metadata = ? WHERE {column} = ?",
                (json.dumps(after, sort_keys=True), key),
            )
    return metadata.EditMetadataResponse()


def _target(db: Connection, edit: Any) -> tuple[str, str, int | str]:
    kind, picker = betterproto.which_one_of(edit, "target")
    if kind == "project":
        if not db.execute("SELECT 1 FROM project WHERE name = ?", (picker.name,)).fetchone():
            raise not_found(f"project {picker.name} not found")
        return "project", "name", str(picker.name)
    if kind == "repo":
        return "repo", "pk", references.repo(db, picker).pk
    if kind == "branch":
        return "branch", "pk", references.branch(db, picker).pk
    if kind == "commit":
        return "commits", "pk", references.commit(db, picker).pk
    raise unimplemented(f"EditMetadata of a {kind or 'missing target'}")


def _edited(pairs: dict[str, str], edit: Any) -> dict[str, str]:
    kind, operation = betterproto.which_one_of(edit, "op")
    if kind == "replace":
        pairs = dict(operation.replacement)
        if "" in pairs:
            raise invalid("a metadata key may not be empty")
        return pairs
    if not kind or not operation.key:
        raise invalid("a metadata key may not be empty")
    if kind == "add_key":
        if operation.key in pairs:
            raise ServiceError(
                StatusCode.FAILED_PRECONDITION,
                f'add_key target key "{operation.key}" already exists; use edit_key instead',
            )
        return pairs | {operation.key: operation.value}
    if kind == "edit_key":
        return pairs | {operation.key: operation.value}
    return {key: value for key, value in pairs.items() if key != operation.key}
