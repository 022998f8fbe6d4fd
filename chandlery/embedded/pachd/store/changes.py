"""ModifyFile: a stream of operations becomes changes, and the changes become entries, all of them or none.

While the stream runs, contents go into chunks and the changes into memory, beyond a number of them into the
database under an id that no commit refers to. One transaction at the end makes them visible; a stream that
breaks off leaves nothing but garbage to collect.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain

from chandlery.embedded.pachd.store import layers, paths
from chandlery.embedded.pachd.store.chunks import ChunkStore, FileWriter, Small, is_whole
from chandlery.embedded.pachd.store.database import Database, now
from chandlery.embedded.pachd.store.failure import ServiceError, unknown
from chandlery.embedded.pachd.store.graph import insert_small
from chandlery.embedded.pachd.store.tables import Commit, Connection

_SPILL_CHANGES = 5000
_SPILL_BYTES = 32 * 1024 * 1024
_GATHERED = 1000  # entries inserted together


class Effect(IntEnum):
    """Effect of a change on the file, or directory, at its path."""

    REPLACE = 1
    APPEND = 2
    DELETE = 3
    DELETE_BELOW = 4


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a change set; `chunks` and `size` (bytes) of what is put there."""

    kind: Effect
    path: str
    size: int = 0
    chunks: bytes = b""


class ChangeSet:
    """The changes of one stream, in order.

    Args:
        database: where they go when they become many.
        id_: the name of a file set that outlives the stream; empty for one that does not.
    """

    def __init__(self, database: Database, id_: str = "") -> None:
        self._database = database
        self.id = id_ or uuid.uuid4().hex
        self._changes: list[Change] = []
        self._small: list[Small] = []
        self._small_bytes = 0
        self._spilled = 0

    def add(self, change: Change, small: Small | None = None) -> None:
        """Append a change, with the chunk that belongs into the database."""
        self._changes.append(change)
        if small:
            self._small.append(small)
            self._small_bytes += len(small[1])
        if len(self._changes) >= _SPILL_CHANGES or self._small_bytes >= _SPILL_BYTES:
            self.spill()

    def spill(self) -> None:
        """Write the changes held in memory to the database, not yet visible."""
        with self._database.writing() as db:
            insert_small(db, self._small)
            db.executemany(
                "INSERT INTO change (file_set, position, kind, path, size, chunks) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (self.id, self._spilled + at, int(each.kind), each.path, each.size, each.chunks)
                    for at, each in enumerate(self._changes)
                ],
            )
        self._spilled += len(self._changes)
        self._changes, self._small, self._small_bytes = [], [], 0

    def apply(self, db: Connection, commit: Commit) -> None:
        """Make the changes in the layer of an open commit, within the transaction of `db`."""
        insert_small(db, self._small)
        spilled = stored_changes(db, self.id) if self._spilled else iter(())
        # In one go: what was spilled may have cleared the commit, and what follows has to know that.
        apply(db, commit, chain(spilled, self._changes))
        if self._spilled:
            db.execute("DELETE FROM change WHERE file_set = ?", (self.id,))

    def drop_below(self, directory: str) -> None:
        """Take out what was put below a directory (`/` or `/d/`); that a file is deleted or replaced stays a deletion."""
        self._changes = [each for change in self._changes for each in _without(change, directory)]
        if self._spilled:
            where = "file_set = ? AND path >= ? AND path < ? AND kind = ?"
            which = (self.id, *paths.subtree(directory))
            with self._database.writing() as db:
                db.execute(f"DELETE FROM change WHERE {where}", (*which, int(Effect.APPEND)))
                db.execute(
                    f"UPDATE change SET kind = ?, size = 0, chunks = x'' WHERE {where}",
                    (int(Effect.DELETE), *which, int(Effect.REPLACE)),
                )

    def put_paths(self) -> set[str]:
        """Return the files that the changes put something into."""
        found: set[str] = set()
        with self._database.reading() as db:
            for change in chain(stored_changes(db, self.id) if self._spilled else (), self._changes):
                if change.kind is Effect.DELETE_BELOW:
                    found = {path for path in found if not path.startswith(change.path)}
                elif change.kind is Effect.DELETE:
                    found.discard(change.path)
                else:
                    found.add(change.path)
        return found

    def discard(self) -> None:
        """Remove what was spilled; a killed process leaves that to the collection of garbage."""
        if self._spilled:
            with self._database.writing() as db:
                db.execute("DELETE FROM change WHERE file_set = ?", (self.id,))


class Recorder:
    """Turns operations into changes of a change set.

    Args:
        store: where contents go.
        changes: where changes go.
        apart: the changes stand on no commit, so that a directory holds only what they put there themselves.
    """

    def __init__(self, store: ChunkStore, changes: ChangeSet, *, apart: bool = False) -> None:
        self._store = store
        self._changes = changes
        self._apart = apart
        self._copied: set[str] = set()  # files that the stream has copied to
        self._put: set[str] | None = (
            None  # files that it has put anything into; known once it copies to append
        )
        self._path = ""
        self._raw_path = ""
        self._writer: FileWriter | None = None
        self._deleted = ""  # a deletion held back: followed by Add of the same path it is a replacement
        self._kind = Effect.APPEND
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="pachd-put")

    def add(self, path: str, data: bytes | memoryview) -> None:
        """Append `data` to the file at `path`."""
        if self._writer is None or path != self._raw_path:
            cleaned = paths.check_path(path)
            self._close_file()
            if cleaned in self._copied and self._deleted != cleaned:
                raise _twice(cleaned)
            self._copied.discard(cleaned)
            if self._put is not None:
                self._put.add(cleaned)
            self._kind = Effect.APPEND
            if self._deleted:
                if self._deleted == cleaned:
                    self._kind, self._deleted = Effect.REPLACE, ""
                self._flush_deleted()
            self._raw_path, self._path = path, cleaned
            self._writer = FileWriter(self._store, self._pool)
        self._writer.write(data)

    def delete(self, path: str) -> None:
        """Delete a file, or a directory when `path` ends with a slash."""
        self._close_file()
        self._flush_deleted()
        cleaned = paths.clean(path)
        if path.endswith("/") or cleaned == "/":
            directory = paths.as_directory(cleaned)
            self._copied = {each for each in self._copied if not each.startswith(directory)}
            self._put = None
            if self._apart:
                self._changes.drop_below(directory)
            else:
                self._changes.add(Change(Effect.DELETE_BELOW, directory))
        else:
            self._deleted = cleaned

    def put(self, path: str, size: int, chunks: bytes, append: bool) -> None:
        """Put contents that are stored already."""
        self._close_file()
        self._flush_deleted()
        if append and self._put is None:
            self._put = self._changes.put_paths()
        if append and self._put and path in self._put:
            raise _twice(path)
        self._copied.add(path)
        if self._put is not None:
            self._put.add(path)
        self._changes.add(Change(Effect.APPEND if append else Effect.REPLACE, path, size, chunks))

    def finish(self) -> None:
        """Complete the last file and deletion."""
        self._close_file()
        self._flush_deleted()

    def close(self) -> None:
        """End the threads; also after an error, in which case no write of them goes on."""
        if self._writer:
            self._writer.abandon()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _close_file(self) -> None:
        if self._writer is not None:
            chunks, small = self._writer.finish()
            self._changes.add(Change(self._kind, self._path, self._writer.size, chunks), small)
            self._writer = None

    def _flush_deleted(self) -> None:
        if self._deleted:
            self._changes.add(Change(Effect.DELETE, self._deleted))
            self._copied.discard(self._deleted)
            if self._put is not None:
                self._put.discard(self._deleted)
            self._deleted = ""


def _twice(path: str) -> ServiceError:
    # pachd keeps copies apart from what is written, takes such a file for two, and fails the whole commit.
    return unknown(
        f"duplicate path output by different datums ({path}): a stream cannot copy to a file and write it as well"
    )


def _without(change: Change, directory: str) -> Iterator[Change]:
    if not change.path.startswith(directory) or change.kind is Effect.DELETE:
        yield change
    elif change.kind is Effect.REPLACE:
        yield Change(Effect.DELETE, change.path)


def stored_changes(db: Connection, file_set: str) -> Iterator[Change]:
    """Yield the changes of a file set in order."""
    position = -1
    while True:
        rows = db.execute(
            """SELECT position, kind, path, size, chunks FROM change WHERE file_set = ? AND position > ?
               ORDER BY position LIMIT 1000""",
            (file_set, position),
        ).fetchall()
        for _, kind, path, size, chunks in rows:
            yield Change(Effect(kind), path, size, chunks)
        if not rows:
            return
        position = rows[-1][0]


def apply(db: Connection, commit: Commit, changes: Iterable[Change]) -> None:
    """Make changes in the layer of an open commit.

    Raises:
        ServiceError: UNKNOWN when a change needs what the commit builds on and that is not finished.
    """
    layer = _Layer(db, commit)
    for change in changes:
        if change.kind is Effect.REPLACE:
            layer.replace(change.path, change.size, change.chunks)
        elif change.kind is Effect.APPEND:
            layer.append(change.path, change.size, change.chunks)
        elif change.kind is Effect.DELETE:
            layer.delete(change.path)
        else:
            layer.delete_below(change.path)
    layer.flush()
    db.execute("UPDATE commits SET updated = ?, cleared = ? WHERE pk = ?", (now(), layer.cleared, commit.pk))


_INSERT = "INSERT OR REPLACE INTO entry (layer, path, size, chunks, whole) VALUES (?, ?, ?, ?, ?)"
# With no layer below, the earlier part of an appended file is in this layer. The file is chunked again when the
# commit is finished.
_APPEND = """INSERT INTO entry (layer, path, size, chunks, whole) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (layer, path) DO UPDATE SET size = size + excluded.size,
    chunks = CAST(coalesce(chunks, x'') || excluded.chunks AS BLOB), whole = (size = 0 AND excluded.whole)"""


class _Layer:
    """The layer of an open commit while it is written; what is put into it is gathered and inserted together."""

    def __init__(self, db: Connection, commit: Commit) -> None:
        self._db = db
        self._commit = commit
        self._base: layers.View | None = None
        self._gathered: list[tuple[int, str, int, bytes | None, bool]] = []
        self._statement = _INSERT  # how to insert them
        self.cleared = bool(commit.cleared)

    def replace(self, path: str, size: int, chunks: bytes) -> None:
        self._gather(_INSERT, path, size, chunks)

    def append(self, path: str, size: int, chunks: bytes) -> None:
        if not self._below():
            self._gather(_APPEND, path, size, chunks)
            return
        self.flush()
        old = layers.lookup(self._db, (self._commit.pk, *self._below()), path)
        before = old.chunks or b"" if old else b""
        self.replace(path, size + (old.size if old else 0), before + chunks)

    def delete(self, path: str) -> None:
        self.flush()
        self._db.execute("DELETE FROM entry WHERE layer = ? AND path = ?", (self._commit.pk, path))
        if layers.lookup(self._db, self._below(), path):
            self._mark_deleted([path])

    def delete_below(self, directory: str) -> None:
        self.flush()
        lower, upper = paths.subtree(directory)
        self._db.execute(
            "DELETE FROM entry WHERE layer = ? AND path >= ? AND path < ?", (self._commit.pk, lower, upper)
        )
        if directory == "/":
            self.cleared = True
        else:
            self._mark_deleted([entry.path for entry in layers.scan(self._db, self._below(), lower, upper)])

    def flush(self) -> None:
        if self._gathered:
            self._db.executemany(self._statement, self._gathered)
            self._gathered = []

    def _gather(self, statement: str, path: str, size: int, chunks: bytes) -> None:
        if statement != self._statement or len(self._gathered) >= _GATHERED:
            self.flush()
            self._statement = statement
        self._gathered.append((self._commit.pk, path, size, chunks, is_whole(chunks)))

    def _mark_deleted(self, deleted: list[str]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO entry (layer, path, size, chunks, whole) VALUES (?, ?, 0, NULL, 1)",
            [(self._commit.pk, path) for path in deleted],
        )

    def _below(self) -> layers.View:
        if self.cleared:
            return ()
        if self._base is None:
            self._base = layers.base(self._db, self._commit)
        return self._base
