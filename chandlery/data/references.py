"""From what a person writes (`digits`, `master`, `master^2`, a commit id) to one finished commit."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from chandlery.data.errors import says_missing, translated
from chandlery.data.lease import abandoned
from chandlery.errors import DataError, DeadlineError, NotFoundError, UserError
from chandlery.progress import report

if TYPE_CHECKING:
    from pachyderm_sdk import Client
    from pachyderm_sdk.api import pfs

_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_REF = re.compile(r"[a-zA-Z0-9_-]+(([\^~][0-9]{0,9}){0,9}|\.[0-9]{1,9})")
_COMMIT = re.compile(r"[0-9a-f]{12}4[0-9a-f]{19}")

SHOWN = 8  # how many names an error lists


@dataclass(frozen=True)
class Pinned:
    """One finished commit.

    Attributes:
        repo: repo, with its project when that is not the default one: `digits` or `project/digits`.
        branch: branch that the reference named; empty for a commit id.
        commit: commit id, 32 hex digits.
    """

    repo: str
    branch: str
    commit: str

    def message(self) -> pfs.Commit:
        """Return the SDK's message for it."""
        from pachyderm_sdk.api import pfs

        return pfs.Commit(repo=repo_message(self.repo), id=self.commit)

    def __str__(self) -> str:
        return f"{self.repo}@{self.commit}"


def repo_message(repo: str) -> pfs.Repo:
    """Return the SDK's message for `repo` or `project/repo`.

    Raises:
        UserError: not a name that Pachyderm takes.
    """
    from pachyderm_sdk.api import pfs

    project, _, name = repo.rpartition("/")
    if not _NAME.fullmatch(name) or (project and not _NAME.fullmatch(project)):
        raise UserError(f"repo {repo!r}: not a valid name", "use letters, digits, '-' and '_'; project/repo")
    return pfs.Repo(name=name, type="user", project=pfs.Project(name=project or "default"))


def branch_message(repo: str, branch: str) -> pfs.Branch:
    """Return the SDK's message for a branch.

    Raises:
        UserError: not a name that Pachyderm takes.
    """
    from pachyderm_sdk.api import pfs

    if not _NAME.fullmatch(branch) or _COMMIT.fullmatch(branch):
        raise UserError(
            f"branch {branch!r} of {repo}: not a valid name", "use letters, digits, '-' and '_'; no commit id"
        )
    return pfs.Branch(repo=repo_message(repo), name=branch)


def branch_of(ref: str) -> str:
    """Return the branch that a reference names; empty for a commit id."""
    name = re.split(r"[\^~.]", ref, maxsplit=1)[0]
    return "" if _COMMIT.fullmatch(name) else name


def resolve(client: Client, repo: str, ref: str, timeout: float = 600.0) -> Pinned:
    """Pin a reference to the finished commit that it means now.

    A commit that is being written is waited for; one whose writer has died is passed over for its parent.

    Args:
        client: versioned-data client.
        repo: `repo` or `project/repo`.
        ref: branch, commit id, or an ancestor of one: `master^`, `master~2`, `master.1`.
        timeout: longest wait for an open commit, in seconds.

    Raises:
        UserError: not a valid name or reference.
        NotFoundError: no such repo, branch or commit; the hint names those that exist.
        DataError: the commit finished with an error.
        DeadlineError: it is still being written after `timeout`.
    """
    from pachyderm_sdk.api import pfs

    if not _REF.fullmatch(ref):
        raise UserError(
            f"reference {repo}@{ref}: not valid", "use a branch, a commit id, or master^, master~2, master.1"
        )
    commit = pfs.Commit(repo=repo_message(repo), id=ref)
    if _NAME.fullmatch(ref) and not _COMMIT.fullmatch(ref):
        commit = pfs.Commit(repo=repo_message(repo), branch=branch_message(repo, ref))
    info = inspect(client, repo, ref, commit)
    while not is_finished(info) and abandoned(info) and has_parent(info):
        report("data.skip", f"{repo}@{info.commit.id} was left open by a writer that died: taking its parent")
        info = inspect(client, repo, ref, info.parent_commit)
    info = wait_finished(client, repo, info, timeout)
    return Pinned(repo=repo, branch=branch_of(ref), commit=info.commit.id)


def inspect(client: Client, repo: str, ref: str, commit: pfs.Commit) -> pfs.CommitInfo:
    """Return what the server knows of a commit.

    Raises:
        NotFoundError: there is none; the hint names what exists.
    """
    with translated(f"look up {repo}@{ref}"):
        try:
            return client.pfs.inspect_commit(commit=commit)
        except grpc.RpcError as error:
            if not says_missing(error):
                raise
    raise _missing(client, repo, ref)


def wait_finished(client: Client, repo: str, info: pfs.CommitInfo, timeout: float) -> pfs.CommitInfo:
    """Wait until a commit is finished; return what the server then knows of it.

    Polls, because the SDK's own wait has no timeout and does not look at the commit's error.

    Args:
        client: versioned-data client.
        repo: for messages.
        info: the commit as last seen.
        timeout: longest wait in seconds.

    Raises:
        DataError: the commit finished with an error; its text is in the message.
        DeadlineError: it is still not finished.
    """
    started = reported = time.monotonic()
    pause = 0.02
    while not is_finished(info):
        now = time.monotonic()
        if now - started > timeout:
            raise DeadlineError(
                f"{repo}@{info.commit.id} is still being written after {timeout:.0f} s",
                "wait for its writer, or drop it with `pachctl delete commit`",
            )
        if now - reported > 10:
            reported = now
            report("data.wait", f"waiting for {repo}@{info.commit.id} to be finished ({now - started:.0f} s)")
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
        info = inspect(client, repo, info.commit.id, info.commit)
    if info.error:
        raise DataError(
            f"{repo}@{info.commit.id} finished with an error: {info.error}",
            "its data is not usable: commit again, or read an earlier commit",
        )
    return info


def is_finished(info: pfs.CommitInfo) -> bool:
    """Return whether a commit is finished. (An unset time is 1970-01-01 in the SDK, which is truthy.)"""
    return bool(info.finished.timestamp() > 0)


def is_open(info: pfs.CommitInfo) -> bool:
    """Return whether a commit still takes writes: it has not been finished."""
    return not is_finished(info) and bool(info.finishing.timestamp() <= 0)


def has_parent(info: pfs.CommitInfo) -> bool:
    """Return whether a commit has a parent."""
    return info.parent_commit is not None and bool(info.parent_commit.id)


def repos(client: Client) -> list[str]:
    """Return the names of all repos, sorted; project first where it is not the default one."""
    with translated("list repos"):
        found = [info.repo for info in client.pfs.list_repo(type="user")]
    return sorted(
        repo.name if repo.project.name == "default" else f"{repo.project.name}/{repo.name}" for repo in found
    )


def branches(client: Client, repo: str) -> list[str]:
    """Return the names of a repo's branches, sorted."""
    with translated(f"list branches of {repo}"):
        return sorted(info.branch.name for info in client.pfs.list_branch(repo=repo_message(repo)))


def _missing(client: Client, repo: str, ref: str) -> NotFoundError:
    names = repos(client)
    if repo not in names and repo.removeprefix("default/") not in names:
        return NotFoundError(f"no repo {repo!r}", f"repos there: {listed(names)}")
    known = branches(client, repo)
    branch = branch_of(ref)
    if branch and branch not in known:
        return NotFoundError(f"no branch {branch!r} in repo {repo!r}", f"branches there: {listed(known)}")
    with translated(f"list commits of {repo}"):
        commits = [i.commit.id for i in client.pfs.list_commit(repo=repo_message(repo), number=SHOWN)]
    return NotFoundError(f"no commit {ref!r} in repo {repo!r}", f"newest commits: {listed(commits)}")


def listed(names: Iterable[str]) -> str:
    """Return names as a short list for a message."""
    every = list(names)
    more = f" and {len(every) - SHOWN} more" if len(every) > SHOWN else ""
    return ", ".join(every[:SHOWN]) + more if every else "none"
