"""Commits and branches: starting, finishing, moving heads, and what follows downstream.

Everything here happens within one database transaction, a `Work`. All commits that one transaction starts
carry the same id (the id of their commit set); `Work.start_downstream` then makes the commits that follow downstream.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from chandlery.embedded.pachd.store import layers, paths, tables, triggers, walk
from chandlery.embedded.pachd.store.chunks import ChunkStore, Small
from chandlery.embedded.pachd.store.database import now
from chandlery.embedded.pachd.store.failure import ServiceError, internal, unknown
from chandlery.embedded.pachd.store.tables import (
    AUTO,
    USER,
    Branch,
    Commit,
    Connection,
    Repo,
    State,
    name_of,
)


@dataclass
class Work:
    """One transaction on the graph; call `start_downstream` before it is committed."""

    db: Connection
    chunks: ChunkStore
    set_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    moved: list[int] = field(default_factory=list)

    def start_downstream(self) -> None:
        """Start the commits that follow downstream of the branches whose heads moved."""
        moved, self.moved = self.moved, []
        for branch in _downstream(self.db, moved):
            _follow(self, branch)


def start_commit(work: Work, repo: Repo, branch_name: str, parent: Commit | None, description: str) -> Commit:
    """Start a commit on a branch, which is made when missing; its head moves at once.

    Args:
        work: the transaction.
        repo: where.
        branch_name: the branch, may be new.
        parent: None for the branch's head.
        description: free text.

    Raises:
        ServiceError: UNKNOWN when the parent is still open or the branch is an output branch.
    """
    branch = tables.find_branch(work.db, repo, paths.check_name("branch", branch_name))
    if branch and tables.branch_sources(work.db, branch):
        raise unknown(f"cannot start a commit on an output branch: {repo}@{branch_name}")
    if parent is None and branch:
        parent = tables.head_of(work.db, branch)
    if parent and tables.state_of(work.db, parent) < State.FINISHING:
        raise unknown(f"parent commit {name_of(work.db, parent)} has not been finished")
    commit = _insert(work, repo, branch_name, parent, USER, description)
    _set_head(work, branch or _make_branch(work.db, repo, branch_name), commit)
    return commit


def finish_commit(work: Work, commit: Commit, description: str = "", error: str = "") -> None:
    """Finish a commit: check it, give it its place in the layers; then those that waited for it.

    Raises:
        ServiceError: UNKNOWN when it was finished already.
    """
    if commit.finishing:
        raise unknown(f"commit {name_of(work.db, commit)} has already finished")
    work.db.execute(
        "UPDATE commits SET finishing = ?, updated = ?, error = ?, description = ? WHERE pk = ?",
        (now(), now(), error, description or commit.description, commit.pk),
    )
    _complete(work, commit.pk)


def clear_commit(work: Work, commit: Commit) -> None:
    """Drop what was written into an open commit; raises ServiceError when it is finished."""
    if commit.finishing:
        raise unknown("cannot clear finished commit")
    work.db.execute("DELETE FROM entry WHERE layer = ?", (commit.pk,))
    work.db.execute("UPDATE commits SET cleared = 0, updated = ? WHERE pk = ?", (now(), commit.pk))


def create_branch(work: Work, repo: Repo, name: str, head: Commit | None, sources: list[Branch]) -> None:
    """Make a branch, or move it and set its provenance. A branch always has a head: an empty commit if need be.

    Raises:
        ServiceError: INTERNAL when the provenance would have a cycle, UNKNOWN when `head` is of another repo.
    """
    if paths.is_commit_id(name):
        raise unknown(f"branch name ({name}) invalid: it has the form of a commit id")
    if head and head.repo != repo.pk:
        raise unknown(f"head {name_of(work.db, head)} is not a commit of {repo}")
    branch = tables.find_branch(work.db, repo, paths.check_name("branch", name))
    branch = branch or _make_branch(work.db, repo, name)
    if any(source.repo == repo.pk for source in sources):
        raise unknown(f"repo {repo} cannot be in the provenance of its own branch")
    upstream = {*sources, *walk.nearest_first(work.db, sources, tables.branch_sources)}
    if branch.pk in {each.pk for each in upstream}:
        raise internal(f"cycle detected because {repo}@{name} would be in its own provenance")
    before = {source.pk for source in tables.branch_sources(work.db, branch)}
    work.db.execute("DELETE FROM branch_provenance WHERE branch = ?", (branch.pk,))
    work.db.executemany(
        "INSERT OR IGNORE INTO branch_provenance (branch, source) VALUES (?, ?)",
        [(branch.pk, source.pk) for source in sources],
    )
    if head:
        _set_head(work, branch, head)
    if sources and before != {source.pk for source in sources}:
        _open_downstream(work, tables.branch_by_pk(work.db, branch.pk))
    elif head is None and branch.head is None:
        _set_head(work, branch, _insert_empty(work, repo, name, None))


def delete_branch(work: Work, branch: Branch, force: bool) -> None:
    """Delete a branch; its commits stay.

    Raises:
        ServiceError: UNKNOWN when others have it in their provenance and `force` is not set.
    """
    downstream = tables.branch_dependants(work.db, branch)
    repo = tables.repo_by_pk(work.db, branch.repo)
    if downstream and not force:
        other = f"{tables.repo_by_pk(work.db, downstream[0].repo)}@{downstream[0].name}"
        raise unknown(
            f"branch {repo}@{branch.name} cannot be deleted because it's in the direct provenance of {other}; "
            "delete that first, or use force"
        )
    if triggers.related(work.db, branch) and not force:
        raise _joined(work.db, branch)
    triggers.delete_triggers(work.db, branch)
    work.db.execute("DELETE FROM branch_provenance WHERE branch = ? OR source = ?", (branch.pk, branch.pk))
    work.db.execute("DELETE FROM branch WHERE pk = ?", (branch.pk,))


def drop_commit(work: Work, commit: Commit, recursive: bool) -> None:
    """Remove a commit without children; heads fall back to its parent, or to a new empty commit.

    Raises:
        ServiceError: UNKNOWN when it has children, or subvenance and `recursive` is not set.
    """
    victims = _with_subvenance(work.db, commit, recursive, "drop")
    for victim in victims:
        # Also a child that would be dropped with it: pachd refuses, and so keeps what was finished downstream.
        if next(tables.commits(work.db, "parent = ?", victim.pk), None):
            raise unknown(f"cannot drop a commit that has children: {name_of(work.db, victim)}")
    for victim in victims:
        repo = tables.repo_by_pk(work.db, victim.repo)
        parent = tables.parent_of(work.db, victim)
        heads = tables.branches(work.db, "head = ?", victim.pk)
        _delete(work.db, victim)
        for branch in heads:
            parent = parent or _insert_first(work, repo, branch)
            _set_head(work, branch, parent, follow=False)


def squash_commit(work: Work, commit: Commit, recursive: bool) -> None:
    """Remove a commit and leave what it changed to its children.

    Raises:
        ServiceError: UNKNOWN when it has no child, an unfinished one, or subvenance and `recursive` is not set.
    """
    for victim in _with_subvenance(work.db, commit, recursive, "squash"):
        children = list(tables.commits(work.db, "parent = ?", victim.pk))
        if not children:
            raise unknown(
                "cannot squash a commit that has no children as that would cause data loss, use the drop operation "
                f"instead: {name_of(work.db, victim)}"
            )
        for child in children:
            if not child.finished:
                raise unknown(f"cannot squash until child commit {name_of(work.db, child)} is finished")
        for branch in tables.branches(work.db, "head = ?", victim.pk):
            _set_head(work, branch, children[-1], follow=False)
        work.db.execute("UPDATE commits SET parent = ? WHERE parent = ?", (victim.parent, victim.pk))
        _delete(work.db, victim)


def delete_repo(work: Work, repo: Repo, force: bool) -> None:
    """Delete a repo with its branches and commits.

    Raises:
        ServiceError: UNKNOWN when another repo's branch has one of its branches in its provenance, without `force`.
    """
    for branch in tables.branches(work.db, "repo = ?", repo.pk):
        for other in tables.branch_dependants(work.db, branch):
            if other.repo != repo.pk and not force:
                raise unknown(
                    f"repo {repo} cannot be deleted because {tables.repo_by_pk(work.db, other.repo)}@{other.name} "
                    f"has its branch {branch.name} in its provenance; delete that first, or use force"
                )
        if triggers.related(work.db, branch) and not force:
            raise _joined(work.db, branch)
        work.db.execute(
            "DELETE FROM branch_provenance WHERE branch = ? OR source = ?", (branch.pk, branch.pk)
        )
        triggers.delete_triggers(work.db, branch)
    mine = "(SELECT pk FROM commits WHERE repo = ?)"
    work.db.execute(
        f"DELETE FROM commit_provenance WHERE commits IN {mine} OR source IN {mine}", (repo.pk, repo.pk)
    )
    work.db.execute(f"DELETE FROM entry WHERE layer IN {mine}", (repo.pk,))
    for table in ("commits", "branch"):
        work.db.execute(f"DELETE FROM {table} WHERE repo = ?", (repo.pk,))
    work.db.execute("DELETE FROM repo WHERE pk = ?", (repo.pk,))


def insert_small(db: Connection, small: list[Small]) -> None:
    """Put the small chunks of files into the database."""
    db.executemany("INSERT OR IGNORE INTO small_chunk (digest, data) VALUES (?, ?)", small)


def rechunk_files(db: Connection, chunks: ChunkStore, commit: Commit) -> None:
    """Cut the files that were appended to as if they had been written in one go."""
    rows = db.execute("SELECT path, chunks FROM entry WHERE layer = ? AND whole = 0", (commit.pk,)).fetchall()
    for path, old in rows:
        new, small = chunks.rechunk(db, old)
        insert_small(db, small)
        db.execute(
            "UPDATE entry SET chunks = ?, whole = 1 WHERE layer = ? AND path = ?", (new, commit.pk, path)
        )


def _complete(work: Work, pk: int) -> None:
    commit = tables.commit_by_pk(work.db, pk)
    parent = tables.parent_of(work.db, commit)
    if parent and not parent.finished:
        return  # its finish completes this one too
    error = commit.error
    if not error:
        rechunk_files(work.db, work.chunks, commit)
        collision = layers.find_collision(work.db, commit, layers.view(work.db, commit))
        error = f"file / directory path collision ({collision})" if collision else ""
    if error:
        work.db.execute("UPDATE commits SET error = ? WHERE pk = ?", (error, pk))
    else:
        layers.place(work.db, commit)
    work.db.execute("UPDATE commits SET finished = ?, updated = ? WHERE pk = ?", (now(), now(), pk))
    if not error:
        _fire_triggers(work, pk)
    for child in list(tables.commits(work.db, "parent = ? AND finishing > 0 AND finished = 0", pk)):
        _complete(work, child.pk)


def _fire_triggers(work: Work, pk: int) -> None:
    # Commits downstream of a triggered branch are a commit set of their own.
    later = Work(work.db, work.chunks)
    commit = tables.commit_by_pk(work.db, pk)
    for branch in triggers.fired_by(work.db, commit):
        _set_head(later, branch, commit)
    later.start_downstream()


def _insert(
    work: Work, repo: Repo, branch: str, parent: Commit | None, origin: int, description: str
) -> Commit:
    if tables.find_commit(work.db, repo, work.set_id):
        raise unknown(
            f"inconsistent dependencies: cannot create commit from {repo}@{branch}; repo ({repo.name}) already has a "
            "commit in this transaction"
        )
    time = now()
    pk = work.db.execute(
        """INSERT INTO commits (repo, id, branch, parent, origin, description, started, updated)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        (repo.pk, work.set_id, branch, parent.pk if parent else None, origin, description, time, time),
    ).lastrowid
    assert pk is not None
    return tables.commit_by_pk(work.db, pk)


def _insert_empty(work: Work, repo: Repo, branch: str, parent: Commit | None) -> Commit:
    if tables.find_commit(work.db, repo, work.set_id):
        # The set has a commit in this repo: an id of its own for the empty one.
        alone = Work(work.db, work.chunks)
        return _insert_empty(alone, repo, branch, parent)
    commit = _insert(work, repo, branch, parent, AUTO, "")
    work.db.execute("UPDATE commits SET finishing = started, finished = started WHERE pk = ?", (commit.pk,))
    return tables.commit_by_pk(work.db, commit.pk)


def _insert_first(work: Work, repo: Repo, branch: Branch) -> Commit:
    """Insert the commit that a branch begins with, which is open when the branch has provenance."""
    if not tables.branch_sources(work.db, branch):
        return _insert_empty(work, repo, branch.name, None)
    work.db.execute("UPDATE branch SET head = NULL WHERE pk = ?", (branch.pk,))
    alone = Work(work.db, work.chunks)
    _open_downstream(alone, tables.branch_by_pk(work.db, branch.pk))
    head = tables.branch_by_pk(work.db, branch.pk).head
    assert head is not None
    return tables.commit_by_pk(work.db, head)


def _make_branch(db: Connection, repo: Repo, name: str) -> Branch:
    pk = db.execute(
        "INSERT INTO branch (repo, name, head, created, updated) VALUES (?, ?, NULL, ?, ?)",
        (repo.pk, name, now(), now()),
    ).lastrowid
    assert pk is not None
    return tables.branch_by_pk(db, pk)


def _set_head(work: Work, branch: Branch, head: Commit, follow: bool = True) -> None:
    work.db.execute("UPDATE branch SET head = ?, updated = ? WHERE pk = ?", (head.pk, now(), branch.pk))
    if follow:
        work.moved.append(branch.pk)


def _joined(db: Connection, branch: Branch) -> ServiceError:
    other = triggers.related(db, branch)[0]
    return unknown(
        f"branch {tables.repo_by_pk(db, branch.repo)}@{branch.name} cannot be deleted because it is joined to "
        f"{other.name} by a trigger; use force"
    )


def _open_downstream(work: Work, branch: Branch) -> None:
    """Open a commit on a branch that depends on the heads of its provenance."""
    repo = tables.repo_by_pk(work.db, branch.repo)
    current = tables.head_of(work.db, branch)
    commit = _insert(work, repo, branch.name, current, AUTO, "")
    heads = [source.head for source in tables.branch_sources(work.db, branch) if source.head is not None]
    work.db.executemany(
        "INSERT OR IGNORE INTO commit_provenance (commits, source) VALUES (?, ?)",
        [(commit.pk, head) for head in heads],
    )
    _set_head(work, branch, commit)


def _follow(work: Work, branch: Branch) -> None:
    branch = tables.branch_by_pk(work.db, branch.pk)
    head = tables.head_of(work.db, branch)
    if head and head.id == work.set_id:
        return
    repo = tables.repo_by_pk(work.db, branch.repo)
    if tables.find_commit(work.db, repo, work.set_id):
        raise unknown(f"multiple branches from the same repo, {repo}, cannot participate in a DAG")
    _open_downstream(work, branch)


def _downstream(db: Connection, moved: list[int]) -> list[Branch]:
    starts = [tables.branch_by_pk(db, pk) for pk in moved]
    found = {each.pk for each in walk.nearest_first(db, starts, tables.branch_dependants)}
    ordered: list[int] = []
    while len(ordered) < len(found):
        for pk in sorted(found - set(ordered)):
            upstream = {source.pk for source in tables.branch_sources(db, tables.branch_by_pk(db, pk))}
            if not (upstream & found) - set(ordered):
                ordered.append(pk)
    return [tables.branch_by_pk(db, pk) for pk in ordered]


def _with_subvenance(db: Connection, commit: Commit, recursive: bool, verb: str) -> list[Commit]:
    found = [commit, *walk.nearest_first(db, [commit], tables.dependants)]
    if len(found) > 1 and not recursive:
        raise unknown(
            f"cannot {verb} commit ({name_of(db, commit)}) with subvenance without recursive; "
            f"it has {name_of(db, found[1])}"
        )
    return list(reversed(found))


def _delete(db: Connection, commit: Commit) -> None:
    layers.remove(db, commit)
    db.execute("DELETE FROM commit_provenance WHERE commits = ? OR source = ?", (commit.pk, commit.pk))
    db.execute("DELETE FROM commits WHERE pk = ?", (commit.pk,))
