"""The files of a commit: its own layer over the layers below it.

A commit stores only the entries that it changes. When it is finished it takes in the layers below that are
not much larger than itself (as a log-structured merge tree does), so layers at least double downwards: a view
of n files has at most about log2(n) layers, and ten changed files cost ten rows, now and then a few more.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

from chandlery.embedded.pachd.store import tables
from chandlery.embedded.pachd.store.failure import unknown
from chandlery.embedded.pachd.store.tables import Commit, Connection

_PAGE = 2000
_END = "\x7f"  # after every path: paths are printable ASCII


class Entry(NamedTuple):
    """A file as one layer has it. `chunks` None: deleted here. `whole`: cut every 8 MiB."""

    path: str
    size: int
    chunks: bytes | None
    whole: bool


View = tuple[int, ...]  # layers, topmost first


def view(db: Connection, commit: Commit) -> View:
    """Return the layers that a commit shows.

    A commit that ended in an error shows its own changes still, over what it was started on.

    Raises:
        ServiceError: UNKNOWN when an ancestor that this one builds on is not finished.
    """
    if commit.finished and not commit.error:
        return tuple(_downwards(db, commit))
    return (commit.pk,) if commit.cleared else (commit.pk, *base(db, commit))


def base(db: Connection, commit: Commit) -> View:
    """Return the layers that a commit was started on: those of its nearest ancestor without an error.

    Raises:
        ServiceError: UNKNOWN when that ancestor is not finished.
    """
    under = base_commit(db, commit)
    return tuple(_downwards(db, under)) if under else ()


def base_commit(db: Connection, commit: Commit) -> Commit | None:
    """Return the nearest ancestor without an error.

    Raises:
        ServiceError: UNKNOWN when it is not finished.
    """
    for candidate in islice(tables.line(db, commit), 1, None):
        if not candidate.finished:
            raise unknown(
                f"base commit {tables.name_of(db, candidate)} for commit {tables.name_of(db, commit)} unfinished"
            )
        if not candidate.error:
            return candidate
    return None


def lookup(db: Connection, layers: View, path: str) -> Entry | None:
    """Return the file at `path`, or None."""
    for layer in layers:
        row = db.execute(
            "SELECT path, size, chunks, whole FROM entry WHERE layer = ? AND path = ?", (layer, path)
        ).fetchone()
        if row:
            return Entry(*row) if row[2] is not None else None
    return None


def scan(db: Connection, layers: View, lower: str = "", upper: str = _END) -> Iterator[Entry]:
    """Yield the files with `lower <= path < upper` in byte order of their paths."""
    if len(layers) == 1:
        yield from (entry for entry in _scan_layer(db, layers[0], lower, upper) if entry.chunks is not None)
        return
    ranked = [((entry.path, rank, entry) for entry in _scan_layer(db, layer, lower, upper))
              for rank, layer in enumerate(layers)]  # fmt: skip
    last = None
    for path, _, entry in heapq.merge(*ranked, key=lambda item: item[:2]):
        if path != last:
            last = path
            if entry.chunks is not None:
                yield entry


def first_below(db: Connection, layers: View, lower: str, upper: str) -> str:
    """Return the first file in a range of paths, or an empty text."""
    found = next(scan(db, layers, lower, upper), None)
    return found.path if found else ""


def totals(db: Connection, commit: Commit, under: Commit | None) -> tuple[int, int]:
    """Return how many files, and bytes, the layer of `commit` over the view of `under` makes."""
    layers = view(db, under) if under else ()
    size = _first_of(layers, "size")
    live = _first_of(layers, "chunks IS NOT NULL")
    files, bytes_ = db.execute(
        f"""SELECT coalesce(sum((e.chunks IS NOT NULL) - {live}), 0), coalesce(sum(e.size - {size}), 0)
            FROM entry e WHERE e.layer = ?""",
        (*layers, *layers, commit.pk),
    ).fetchone()
    return files + (under.files if under else 0), bytes_ + (under.size if under else 0)


def place(db: Connection, commit: Commit) -> None:
    """Give a commit that is being finished its place in the layers and count what it shows."""
    under = None if commit.cleared else base_commit(db, commit)
    files, size = totals(db, commit, under)
    rows = _count(db, commit.pk)
    below = under.pk if under else None
    while below is not None:
        lower = tables.commit_by_pk(db, below)
        if lower.rows > 2 * rows and lower.rows > 0:
            break
        if lower.rows:
            absorb(db, commit.pk, lower.pk)
            rows = _count(db, commit.pk)
        below = lower.below
    if below is None:
        db.execute("DELETE FROM entry WHERE layer = ? AND chunks IS NULL", (commit.pk,))
        rows = _count(db, commit.pk)
    db.execute(
        "UPDATE commits SET below = ?, rows = ?, files = ?, size = ? WHERE pk = ?",
        (below, rows, files, size, commit.pk),
    )


def absorb(db: Connection, layer: int, lower: int) -> None:
    """Copy into `layer` what `lower` has and it has not."""
    db.execute(
        """INSERT OR IGNORE INTO entry (layer, path, size, chunks, whole)
           SELECT ?, path, size, chunks, whole FROM entry WHERE layer = ?""",
        (layer, lower),
    )


def remove(db: Connection, commit: Commit) -> None:
    """Take the layer of a commit out; those that look into it take in what it has first."""
    for above in list(tables.commits(db, "below = ?", commit.pk)):
        absorb(db, above.pk, commit.pk)
        if commit.below is None:
            db.execute("DELETE FROM entry WHERE layer = ? AND chunks IS NULL", (above.pk,))
        db.execute(
            "UPDATE commits SET below = ?, rows = ? WHERE pk = ?",
            (commit.below, _count(db, above.pk), above.pk),
        )
    db.execute("DELETE FROM entry WHERE layer = ?", (commit.pk,))


def find_collision(db: Connection, commit: Commit, layers: View) -> str:
    """Return the first path below a file that this commit's layer makes a directory too, or an empty text."""
    for layer in layers:
        rows = db.execute(
            """SELECT e.path FROM entry e WHERE e.layer = ? AND e.chunks IS NOT NULL AND EXISTS
                 (SELECT 1 FROM entry b WHERE b.layer = ? AND b.path > e.path || '/' AND b.path < e.path || '0'
                  AND b.chunks IS NOT NULL)""",
            (commit.pk, layer),
        ).fetchall()
        for (path,) in rows:
            below = first_below(db, layers, path + "/", path + "0")
            if below:
                return below
    checked: set[str] = {""}
    for entry in _scan_layer(db, commit.pk, "", _END):
        directory = entry.path.rpartition("/")[0]
        while entry.chunks is not None and directory not in checked:
            checked.add(directory)
            if lookup(db, layers, directory):
                return entry.path
            directory = directory.rpartition("/")[0]
    return ""


def _downwards(db: Connection, commit: Commit) -> Iterator[int]:
    pk: int | None = commit.pk
    while pk is not None:
        below, rows = db.execute("SELECT below, rows FROM commits WHERE pk = ?", (pk,)).fetchone()
        if rows:
            yield pk
        pk = below


def _scan_layer(db: Connection, layer: int, lower: str, upper: str) -> Iterator[Entry]:
    condition = ">="
    while True:
        page = db.execute(
            f"""SELECT path, size, chunks, whole FROM entry WHERE layer = ? AND path {condition} ? AND path < ?
                ORDER BY path LIMIT {_PAGE}""",
            (layer, lower, upper),
        ).fetchall()
        yield from map(Entry._make, page)
        if len(page) < _PAGE:
            return
        condition, lower = ">", page[-1][0]


def _first_of(layers: View, column: str) -> str:
    found = (f"(SELECT {column} FROM entry WHERE layer = ? AND path = e.path)" for _ in layers)
    return f"coalesce({', '.join(chain(found, ['0', '0']))})"


def _count(db: Connection, layer: int) -> int:
    return int(db.execute("SELECT count(*) FROM entry WHERE layer = ?", (layer,)).fetchone()[0])
