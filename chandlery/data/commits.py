"""Safe commits: a write that fails never becomes what readers of the branch see.

The SDK's own context manager finishes the commit on an exception too, which makes half-written data the head of the
branch. This one drops it. It also finds what a killed writer left behind, waits for one that lives, and does not
return before the server has validated the commit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from chandlery.data import lease
from chandlery.data.errors import translated
from chandlery.data.references import (
    branch_message,
    has_parent,
    is_finished,
    is_open,
    repo_message,
    wait_finished,
)
from chandlery.errors import ChandleryError, ConflictError, DeadlineError
from chandlery.progress import report
from chandlery.provenance import Provenance

if TYPE_CHECKING:
    from pachyderm_sdk import Client
    from pachyderm_sdk.api import pfs

DEFAULT_TIMEOUT = 3600.0  # seconds for a whole write


@dataclass
class Writing:
    """An open commit.

    Attributes:
        commit: the SDK's message for it; pass it to `client.pfs` calls that write.
        parent: the finished commit that it stands on; None for the first of a branch.
        deadline: `time.monotonic()` at which the writer gives up.
        description: what the commit will say of itself once finished; set it before leaving the block.
        dropped: the commit was given up by `drop`.
    """

    client: Client
    commit: pfs.Commit
    parent: pfs.CommitInfo | None
    deadline: float
    description: str
    dropped: bool = False

    def drop(self) -> None:
        """Give the commit up: the branch is as it was before."""
        self.dropped = True

    def check_deadline(self) -> None:
        """Raise when the time of this write is over.

        Raises:
            DeadlineError: it is.
        """
        if time.monotonic() > self.deadline:
            raise DeadlineError(
                "the write took longer than its timeout; nothing was committed", "give it a longer timeout"
            )


@contextmanager
def writing(
    client: Client,
    repo: str,
    branch: str,
    record: Provenance,
    message: str = "",
    timeout: float = DEFAULT_TIMEOUT,
) -> Iterator[Writing]:
    """Write one commit: finished and validated when the block ends, gone when the block raises.

    Args:
        client: versioned-data client.
        repo: `repo` or `project/repo`; created when missing.
        branch: branch; created when missing.
        record: provenance of the data, written into the commit's description.
        message: what a person wants to say about it.
        timeout: seconds for all of it: waiting for another writer, the block, the server's validation.

    Yields:
        the open commit.

    Raises:
        ConflictError: another writer held the branch for the whole time.
        DataError: the server refused the commit's content.
        DeadlineError: it took longer than `timeout`.
    """
    deadline = time.monotonic() + timeout
    record = record.with_(data_repo=repo, data_branch=branch, data_commit="")
    ensure_repo(client, repo)
    description = lease.opening(record, message, timeout)
    commit, parent = _start(client, repo, branch, description, deadline)
    work = Writing(client, commit, parent, deadline, lease.describe(record, message))
    where = f"{repo}@{branch}"
    try:
        yield work
        work.check_deadline()
        if not work.dropped:
            with translated(f"finish {where}"):
                client.pfs.finish_commit(commit=commit, description=work.description)
                info = client.pfs.inspect_commit(commit=commit)
            wait_finished(client, repo, info, max(1.0, deadline - time.monotonic()))
    except BaseException as error:
        _discard(client, repo, branch, work, f"{type(error).__name__}: {error}")
        raise
    if work.dropped:
        _discard(client, repo, branch, work, "dropped by its writer")


def ensure_repo(client: Client, repo: str) -> None:
    """Create a repo (and its project) when it is missing."""
    message = repo_message(repo)
    with translated(f"create repo {repo}"):
        if client.pfs.repo_exists(repo=message):
            return
        if message.project.name != "default" and not client.pfs.project_exists(project=message.project):
            client.pfs.create_project(project=message.project)
        try:
            client.pfs.create_repo(repo=message, description="made by Chandlery")
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.ALREADY_EXISTS:  # somebody was faster
                raise


def head_of(client: Client, repo: str, branch: str) -> pfs.CommitInfo | None:
    """Return the branch's head commit as it is now, open or not; None when there is no such repo, branch or head."""
    name = branch_message(repo, branch)
    with translated(f"look up {repo}@{branch}"):
        try:
            head = client.pfs.inspect_branch(branch=name).head
            return client.pfs.inspect_commit(commit=head) if head and head.id else None
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
    return None


def settled_head(client: Client, repo: str, branch: str, deadline: float) -> pfs.CommitInfo | None:
    """Return the branch's head once nobody writes to it; drop what dead writers left.

    Args:
        client: versioned-data client.
        repo: repo.
        branch: branch.
        deadline: `time.monotonic()` until which to wait for a live writer.

    Returns:
        the finished head; None when there is no such branch.

    Raises:
        ConflictError: a live writer held it until the deadline.
    """
    pause, reported = 0.05, time.monotonic()
    while True:
        head = head_of(client, repo, branch)
        if head is None or is_finished(head):
            return head
        if is_open(head) and lease.abandoned(head):
            report("data.recover", f"{repo}@{branch}: dropping {head.commit.id}, left open by a dead writer")
            _drop(client, repo, branch, head.commit, head.parent_commit if has_parent(head) else None)
            continue
        now = time.monotonic()
        if now > deadline:
            raise ConflictError(
                f"{repo}@{branch}: {head.commit.id} is being written by another process"
                f" ({_writer(head.description)})",
                f"wait for it, or drop it with `pachctl delete commit {repo}@{head.commit.id}`",
            )
        if now - reported > 10:
            reported = now
            report("data.wait", f"{repo}@{branch}: waiting for another writer ({_writer(head.description)})")
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


def _start(
    client: Client, repo: str, branch: str, description: str, deadline: float
) -> tuple[pfs.Commit, pfs.CommitInfo | None]:
    while True:
        parent = settled_head(client, repo, branch, deadline)
        try:
            with translated(f"start a commit on {repo}@{branch}"):
                commit = client.pfs.start_commit(branch=branch_message(repo, branch), description=description)
        except ConflictError:
            # Another writer was faster, or a busy pachd rolled the transaction back.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
            continue
        with translated(f"look up {repo}@{commit.id}"):
            info = client.pfs.inspect_commit(commit=commit)
            # Another commit may have come between; the parent is what the server says.
            if not has_parent(info):
                return commit, None
            if parent is None or parent.commit.id != info.parent_commit.id:
                parent = client.pfs.inspect_commit(commit=info.parent_commit)
        return commit, parent


def _discard(client: Client, repo: str, branch: str, work: Writing, reason: str) -> None:
    try:
        _drop(client, repo, branch, work.commit, work.parent.commit if work.parent else None, reason)
    except ChandleryError as error:
        # The first error is the one to report; the next writer recovers a commit that is left open.
        report("data.discard", f"{repo}@{branch}: {work.commit.id} could not be dropped now: {error.message}")


def _drop(
    client: Client, repo: str, branch: str, commit: pfs.Commit, parent: pfs.Commit | None, reason: str = ""
) -> None:
    reason = reason or "its writer died"
    with translated(f"drop {repo}@{commit.id}"):
        downstream = _downstream(client, commit)
        try:
            if not any(is_finished(info) for info in downstream):
                client.pfs.drop_commit(commit=commit, recursive=True)
                return
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                raise
            # Dropping needs a permission of its own, and pachd refuses it where a commit downstream has children.
        # Dropping would lose finished data downstream. Marked as failed, this commit's data is never read; commits of
        # the same set that still wait for it would hold up their children.
        _fail(client, commit, reason)
        for info in downstream:
            if info.commit.id == commit.id and not is_finished(info):
                _fail(client, info.commit, reason)
        if parent is not None:
            client.pfs.create_branch(branch=branch_message(repo, branch), head=parent)


def _downstream(client: Client, commit: pfs.Commit) -> list[pfs.CommitInfo]:
    try:
        return [
            info
            for info in client.pfs.walk_commit_subvenance(start=[commit.as_picker()])
            if info.commit.repo != commit.repo or info.commit.id != commit.id
        ]
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.NOT_FOUND:
            return []
        raise


def _fail(client: Client, commit: pfs.Commit, reason: str) -> None:
    try:
        client.pfs.finish_commit(commit=commit, error=reason, force=True)
    except grpc.RpcError as error:
        if "already finished" not in (error.details() or ""):
            raise


def _writer(description: str) -> str:
    fields = lease.fields(description)
    writer = fields.get("writer", {})
    if not writer:
        return "not written by Chandlery"
    run = f"run {fields['run_id']}, " if fields.get("run_id") else ""
    return f"{run}process {writer.get('pid')} on {writer.get('host')}"
