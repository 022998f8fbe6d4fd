"""Branches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import betterproto
from betterproto.lib.google.protobuf import Empty
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd.rpc import messages, references
from chandlery.embedded.pachd.rpc.calls import Call, rpc
from chandlery.embedded.pachd.store import graph, tables, triggers, walk
from chandlery.embedded.pachd.store.failure import invalid, unimplemented, unknown
from chandlery.embedded.pachd.store.tables import Branch, Connection
from chandlery.embedded.pachd.store.triggers import Trigger

Step = Callable[[Connection, Branch], list[Branch]]


def create_branch_in(work: graph.Work, request: Any) -> None:
    """Make or move a branch within a transaction."""
    if request.trigger.cron_spec or request.trigger.rate_limit_spec:
        raise unimplemented("a branch trigger with a cron or rate limit specification")
    if request.branch_propagation_specs:
        raise unimplemented("CreateBranch with branch_propagation_specs")
    if not request.branch.name:
        raise invalid("a branch name is required")
    repo = references.repo(work.db, request.branch.repo)
    head = None
    if request.head.id or request.head.branch.name:
        head = references.commit(work.db, request.head)
    sources = [_source(work, source) for source in request.provenance]
    if not betterproto.serialized_on_wire(request.trigger):
        graph.create_branch(work, repo, request.branch.name, head, sources)
        return
    if sources:
        raise unknown("a branch cannot have both provenance and a trigger")
    asked = request.trigger
    source = triggers.check(work.db, repo, request.branch.name, asked.branch, asked.size, asked.commits)
    graph.create_branch(work, repo, request.branch.name, head, sources)
    branch = tables.require_branch(work.db, repo, request.branch.name)
    triggers.set_trigger(work.db, Trigger(branch.pk, source.pk, asked.size, asked.commits, asked.all))


@rpc("/pfs_v2.API/CreateBranch", pfs.CreateBranchRequest, joins="create_branch", work=create_branch_in)
def create_branch(call: Call, request: Any) -> Any:
    """Make a branch, or move its head and set its provenance."""
    with call.store.work() as work:
        create_branch_in(work, request)
    return Empty()


def _source(work: graph.Work, message: Any) -> Branch:
    # A branch that another one is to depend on is made when it is not there.
    if not message.name:
        raise invalid("a branch name is required")
    repo = references.repo(work.db, message.repo)
    if tables.find_branch(work.db, repo, message.name) is None:
        graph.create_branch(work, repo, message.name, None, [])
    return tables.require_branch(work.db, repo, message.name)


@rpc("/pfs_v2.API/InspectBranch", pfs.InspectBranchRequest)
def inspect_branch(call: Call, request: Any) -> Any:
    """Describe a branch."""
    with call.store.database.reading() as db:
        return messages.branch_info(db, references.branch(db, request.branch))


@rpc("/pfs_v2.API/ListBranch", pfs.ListBranchRequest)
def list_branch(call: Call, request: Any) -> Iterator[Any]:
    """Describe the branches of a repo, or all, the newest first."""
    with call.store.database.reading() as db:
        if request.repo.name:
            found = tables.branches(db, "repo = ?", references.repo(db, request.repo).pk)
        else:
            found = tables.branches(db, "true")
        for branch in found if request.reverse else reversed(found):
            yield messages.branch_info(db, branch)


def delete_branch_in(work: graph.Work, request: Any) -> None:
    """Delete a branch within a transaction."""
    graph.delete_branch(work, references.branch(work.db, request.branch), request.force)


@rpc("/pfs_v2.API/DeleteBranch", pfs.DeleteBranchRequest, joins="delete_branch", work=delete_branch_in)
def delete_branch(call: Call, request: Any) -> Any:
    """Delete a branch; its commits stay."""
    with call.store.work() as work:
        delete_branch_in(work, request)
    return Empty()


@rpc("/pfs_v2.API/WalkBranchProvenance", pfs.WalkBranchProvenanceRequest)
def walk_branch_provenance(call: Call, request: Any) -> Iterator[Any]:
    """Describe the branches that branches depend on, the nearest first."""
    with call.store.database.reading() as db:
        for branch in _reached(db, request, tables.branch_sources):
            yield messages.branch_info(db, branch)


@rpc("/pfs_v2.API/WalkBranchSubvenance", pfs.WalkBranchSubvenanceRequest)
def walk_branch_subvenance(call: Call, request: Any) -> Iterator[Any]:
    """Describe the branches that depend on branches, the nearest first."""
    with call.store.database.reading() as db:
        for branch in _reached(db, request, tables.branch_dependants):
            yield messages.branch_info(db, branch)


def _reached(db: Connection, request: Any, step: Step) -> Iterator[Branch]:
    starts = (references.branch(db, picker) for picker in request.start)
    return walk.nearest_first(db, starts, step, request.max_depth, request.max_branches)
