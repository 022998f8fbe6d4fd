"""Pickers of a request, resolved to rows of the store."""

from __future__ import annotations

import re
from typing import Any

from chandlery.embedded.pachd.store import paths, tables
from chandlery.embedded.pachd.store.failure import invalid, not_found, unknown
from chandlery.embedded.pachd.store.tables import Branch, Commit, Connection, Repo

_REFERENCE = re.compile(r"(?P<name>[^\^~.]*)(?P<steps>(?:[\^~]\d*)*)(?:\.(?P<from_root>\d+))?\Z")
_STEP = re.compile(r"[\^~](\d*)")


def repo(db: Connection, message: Any) -> Repo:
    """Return the repo that a `Repo` or `RepoPicker` message means.

    Raises:
        ServiceError: INVALID_ARGUMENT without a name, NOT_FOUND.
    """
    message = getattr(message, "name", message) if type(message).__name__ == "RepoPicker" else message
    if message is None or not message.name:
        raise invalid("a repo name is required")
    project = message.project.name or "default"
    found = tables.find_repo(db, project, message.name, message.type)
    if found is None:
        if not db.execute("SELECT 1 FROM project WHERE name = ?", (project,)).fetchone():
            raise not_found(f"project {project} not found")
        raise not_found(f"repo {project}/{message.name} not found")
    return found


def branch(db: Connection, message: Any) -> Branch:
    """Return the branch that a `Branch` or `BranchPicker` message means.

    Raises:
        ServiceError: INVALID_ARGUMENT without a name, NOT_FOUND.
    """
    message = message.name if type(message).__name__ == "BranchPicker" else message
    if message is None or not message.name:
        raise invalid("a branch name is required")
    return tables.require_branch(db, repo(db, message.repo), message.name)


def commit(db: Connection, message: Any) -> Commit:
    """Return the commit that a `Commit` message means: by id, branch, or an ancestor of either.

    An id that is not in the repo itself is looked for among the provenance of its commit set.

    Raises:
        ServiceError: INVALID_ARGUMENT without id and branch, NOT_FOUND; UNKNOWN for an ancestor that there is not.
    """
    if type(message).__name__ == "CommitPicker":
        return _picked(db, message)
    if message is None or not (message.id or message.branch.name):
        raise invalid("a commit must have an id or a branch")
    return by_text(db, commit_repo(db, message), message.id or message.branch.name)


def commit_repo(db: Connection, message: Any) -> Repo:
    """Return the repo of a `Commit` message, which names it itself or through its branch."""
    return repo(db, message.repo if message.repo.name else message.branch.repo)


def by_text(db: Connection, in_repo: Repo, text: str) -> Commit:
    """Return the commit that `text` means in a repo: `id`, `branch`, `x^2`, `x~2`, `branch.2`.

    Raises:
        ServiceError: NOT_FOUND; UNKNOWN for an ancestor that there is not.
    """
    match = _REFERENCE.match(text)
    if match is None:
        raise not_found(f"commit {in_repo}@{text} not found")
    found = _named(db, in_repo, match["name"])
    for step in _STEP.findall(match["steps"]):
        found = _ancestor(db, found, int(step or 1))
    if match["from_root"]:
        found = _from_root(db, found, int(match["from_root"]))
    return found


def _named(db: Connection, in_repo: Repo, name: str) -> Commit:
    if paths.is_commit_id(name):
        found = tables.find_commit(db, in_repo, name) or _in_provenance(db, in_repo, name)
        if found is None:
            raise not_found(f"commit {in_repo}@{name} not found")
        return found
    head = tables.require_branch(db, in_repo, name).head
    if head is None:
        raise not_found(f"branch {in_repo}@{name} has no head")
    return tables.commit_by_pk(db, head)


def _in_provenance(db: Connection, in_repo: Repo, set_id: str) -> Commit | None:
    return next(
        tables.commits(
            db,
            """repo = ? AND pk IN (
                 WITH RECURSIVE upstream(pk) AS (
                   SELECT pk FROM commits WHERE id = ?
                   UNION SELECT source FROM commit_provenance JOIN upstream ON commits = upstream.pk)
                 SELECT pk FROM upstream)""",
            in_repo.pk,
            set_id,
            order="pk DESC",
        ),
        None,
    )


def _ancestor(db: Connection, start: Commit, steps: int) -> Commit:
    step = -1
    for step, found in enumerate(tables.line(db, start)):
        if step == steps:
            return found
    raise unknown(
        f"invalid offset for ancestor of commit: {tables.name_of(db, start)}, offset requested: {steps}, "
        f"offset traversable: {step}"
    )


def _from_root(db: Connection, head: Commit, position: int) -> Commit:
    line = list(tables.line(db, head))
    if position == 0:
        return head
    if position > len(line):
        raise unknown(
            f"invalid offset from branch root for head commit: {tables.name_of(db, head)}, offset: {position - 1}, "
            f"maximum depth: {len(line)}"
        )
    return line[-position]


def _picked(db: Connection, picker: Any) -> Commit:
    if picker.id and picker.id.id:
        return by_text(db, repo(db, picker.id.repo), picker.id.id)
    if picker.branch_head and picker.branch_head.name and picker.branch_head.name.name:
        found = branch(db, picker.branch_head)
        return by_text(db, tables.repo_by_pk(db, found.repo), found.name)
    if picker.ancestor and picker.ancestor.start:
        return _ancestor(db, _picked(db, picker.ancestor.start), picker.ancestor.offset)
    if picker.branch_root and picker.branch_root.branch:
        found = branch(db, picker.branch_root.branch)
        in_repo = tables.repo_by_pk(db, found.repo)
        return by_text(db, in_repo, f"{found.name}.{picker.branch_root.offset}")
    raise invalid("a commit picker must pick by id, branch head, ancestor or branch root")
