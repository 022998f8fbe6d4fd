"""Branch triggers: a branch whose head follows another branch of its repo, once enough has come in there.

A trigger fires when a commit is finished: the triggered branch's head moves to that commit, no commit is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from chandlery.embedded.pachd.store import paths, tables
from chandlery.embedded.pachd.store.failure import not_found, unknown
from chandlery.embedded.pachd.store.tables import AUTO, Branch, Commit, Connection, Repo

_SIZE = re.compile(r"(?P<number>\d+\.?\d*|\.\d+) ?(?:b|(?P<unit>[kmgtp])(?:i?b)?)?\Z", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}  # of 1000, also with an "i", as pachd has it


@dataclass(frozen=True)
class Trigger:
    """Condition that moves a branch.

    Attributes:
        branch: row number of the branch that moves.
        source: row number of the branch that it follows.
        size: fires when the source has grown by this much, such as `1MB`; empty for no such condition.
        commits: fires when the source is this many commits ahead; 0 for no such condition.
        all: whether all conditions must hold rather than one of them.
    """

    branch: int
    source: int
    size: str
    commits: int
    all: bool


_COLUMNS = 'branch, source, size, commits, "all"'


def trigger_of(db: Connection, branch: Branch) -> Trigger | None:
    """Return the trigger of a branch, or None."""
    return next(iter(_triggers(db, "branch = ?", branch.pk)), None)


def check(db: Connection, repo: Repo, branch_name: str, source_name: str, size: str, commits: int) -> Branch:
    """Return the branch that a new trigger of `branch_name` follows, when the trigger is a sound one.

    Raises:
        ServiceError: UNKNOWN for a bad condition or a loop, NOT_FOUND without the branch to follow.
    """
    if not source_name:
        raise unknown("triggers must specify a branch to trigger on")
    paths.check_name("branch", source_name)
    if size:
        size_in_bytes(size)
    if commits < 0:
        raise unknown("can't trigger on a negative number of commits")
    line = [source_name]
    while line[-1] != branch_name:
        follows = tables.find_branch(db, repo, line[-1])
        trigger = trigger_of(db, follows) if follows else None
        if trigger is None:
            break
        line.append(tables.branch_by_pk(db, trigger.source).name)
    if line[-1] == branch_name:
        raise unknown("triggers cannot form a loop")
    source = tables.find_branch(db, repo, source_name)
    if source is None:
        raise not_found(f"updating branch trigger: branch {source_name!r} not found in repo {repo}")
    return source


def set_trigger(db: Connection, trigger: Trigger) -> None:
    """Give a branch its trigger, instead of the one it has."""
    values = (trigger.branch, trigger.source, trigger.size, trigger.commits, trigger.all)
    db.execute(f"INSERT OR REPLACE INTO branch_trigger ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", values)


def related(db: Connection, branch: Branch) -> list[Branch]:
    """Return the branches that a branch follows or is followed by."""
    found = _triggers(db, "branch = ? OR source = ?", branch.pk, branch.pk)
    others = [each.source if each.branch == branch.pk else each.branch for each in found]
    return [tables.branch_by_pk(db, pk) for pk in others]


def delete_triggers(db: Connection, branch: Branch) -> None:
    """Remove every trigger that a branch has part in."""
    db.execute("DELETE FROM branch_trigger WHERE branch = ? OR source = ?", (branch.pk, branch.pk))


def fired_by(db: Connection, commit: Commit) -> list[Branch]:
    """Return the branches whose heads move to a commit that has just been finished, those followed first."""
    start = db.execute(
        "SELECT pk FROM branch WHERE repo = ? AND name = ?", (commit.repo, commit.branch)
    ).fetchone()
    moved = [int(start[0])] if start else []
    fired = []
    for source in moved:
        for trigger in _triggers(db, "source = ?", source):
            branch = tables.branch_by_pk(db, trigger.branch)
            if branch.head != commit.pk and _is_met(db, trigger, branch, commit):
                moved.append(branch.pk)
                fired.append(branch)
    return fired


def size_in_bytes(text: str) -> int:
    """Return the number of bytes that `5`, `1.5 KB` or `1MB` means; units are decimal.

    Raises:
        ServiceError: UNKNOWN, when it means none.
    """
    match = _SIZE.match(text)
    if match is None:
        raise unknown(f"invalid trigger size: {text!r}")
    return int(float(match["number"]) * 1000 ** _POWERS.get((match["unit"] or "").lower(), 0))


def _is_met(db: Connection, trigger: Trigger, branch: Branch, new: Commit) -> bool:
    old = tables.head_of(db, branch)
    conditions = []
    if trigger.size:
        conditions.append(new.size - (old.size if old else 0) >= size_in_bytes(trigger.size))
    if trigger.commits:
        conditions.append(_commits_between(db, old, new, trigger.commits) >= trigger.commits)
    return all(conditions) if trigger.all else any(conditions)


def _commits_between(db: Connection, old: Commit | None, new: Commit, enough: int) -> int:
    # The empty commit that a branch begins with does not count.
    count = 0
    for commit in tables.line(db, new):
        if count >= enough or (old and commit.pk == old.pk):
            break
        count += commit.parent is not None or commit.origin != AUTO
    return count


def _triggers(db: Connection, where: str, *values: object) -> list[Trigger]:
    rows = db.execute(f"SELECT {_COLUMNS} FROM branch_trigger WHERE {where} ORDER BY branch", values)
    return [
        Trigger(branch, source, size, commits, bool(all_)) for branch, source, size, commits, all_ in rows
    ]
