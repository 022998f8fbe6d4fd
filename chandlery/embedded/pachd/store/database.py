"""The SQLite file of a store: schema, connections, transactions.

Many processes hold the same file open. Writers take the write lock at once (BEGIN IMMEDIATE), readers get a
snapshot (WAL), so a listing never mixes two states of the store.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chandlery.errors import PlatformError

BUSY_SECONDS = 120.0

# An entry's `chunks` is what its file consists of (see chunks.py); NULL means "deleted here".
# A layer has the number of its commit. A commit's `below` is the layer to look into next; see layers.py.
_SCHEMA = """
CREATE TABLE project (name TEXT PRIMARY KEY, description TEXT NOT NULL, created INTEGER NOT NULL,
  metadata TEXT NOT NULL DEFAULT '{}');
CREATE TABLE repo (pk INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL REFERENCES project(name),
  name TEXT NOT NULL, type TEXT NOT NULL, description TEXT NOT NULL, created INTEGER NOT NULL,
  metadata TEXT NOT NULL DEFAULT '{}', UNIQUE (project, name, type));
CREATE TABLE branch (pk INTEGER PRIMARY KEY AUTOINCREMENT, repo INTEGER NOT NULL, name TEXT NOT NULL,
  head INTEGER, created INTEGER NOT NULL, updated INTEGER NOT NULL, metadata TEXT NOT NULL DEFAULT '{}',
  UNIQUE (repo, name));
CREATE INDEX branch_head ON branch (head);
CREATE TABLE branch_provenance (branch INTEGER NOT NULL, source INTEGER NOT NULL, PRIMARY KEY (branch, source))
  WITHOUT ROWID;
CREATE INDEX branch_subvenance ON branch_provenance (source);
CREATE TABLE commits (pk INTEGER PRIMARY KEY AUTOINCREMENT, repo INTEGER NOT NULL, id TEXT NOT NULL,
  branch TEXT NOT NULL, parent INTEGER, origin INTEGER NOT NULL, description TEXT NOT NULL,
  started INTEGER NOT NULL, finishing INTEGER NOT NULL DEFAULT 0, finished INTEGER NOT NULL DEFAULT 0,
  updated INTEGER NOT NULL, error TEXT NOT NULL DEFAULT '', metadata TEXT NOT NULL DEFAULT '{}',
  cleared INTEGER NOT NULL DEFAULT 0, below INTEGER, rows INTEGER NOT NULL DEFAULT 0,
  files INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 0, UNIQUE (repo, id));
CREATE INDEX commit_set ON commits (id);
CREATE INDEX commit_parent ON commits (parent);
CREATE INDEX commit_below ON commits (below);
CREATE TABLE commit_provenance (commits INTEGER NOT NULL, source INTEGER NOT NULL, PRIMARY KEY (commits, source))
  WITHOUT ROWID;
CREATE INDEX commit_subvenance ON commit_provenance (source);
CREATE TABLE entry (layer INTEGER NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, chunks BLOB,
  whole INTEGER NOT NULL, PRIMARY KEY (layer, path)) WITHOUT ROWID;
CREATE INDEX entry_unsettled ON entry (layer, path) WHERE whole = 0;
CREATE TABLE small_chunk (digest BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE file_set (id TEXT PRIMARY KEY, expires INTEGER NOT NULL);
CREATE TABLE change (file_set TEXT NOT NULL, position INTEGER NOT NULL, kind INTEGER NOT NULL, path TEXT NOT NULL,
  size INTEGER NOT NULL, chunks BLOB, PRIMARY KEY (file_set, position)) WITHOUT ROWID;
CREATE TABLE transactions (id TEXT PRIMARY KEY, started INTEGER NOT NULL, requests BLOB NOT NULL);
"""

# Step n turns a store of schema n into one of schema n + 1; the first makes an empty store.
_UPGRADES = (
    _SCHEMA,
    """
CREATE TABLE branch_trigger (branch INTEGER PRIMARY KEY, source INTEGER NOT NULL, size TEXT NOT NULL,
  commits INTEGER NOT NULL, "all" INTEGER NOT NULL);
CREATE INDEX branch_triggered ON branch_trigger (source);
""",
    # Rows of kilobytes in the order of their digests split a page at nearly every insertion.
    """
ALTER TABLE small_chunk RENAME TO small_chunk_by_digest;
CREATE TABLE small_chunk (digest BLOB PRIMARY KEY, data BLOB NOT NULL);
INSERT INTO small_chunk (digest, data) SELECT digest, data FROM small_chunk_by_digest;
DROP TABLE small_chunk_by_digest;
""",
)
SCHEMA_VERSION = len(_UPGRADES)


def now() -> int:
    """Return the time in microseconds since the epoch, the unit of every time column."""
    return time.time_ns() // 1000


class Database:
    """Connections to one store's SQLite file, handed out one per call and kept for the next.

    Args:
        path: the file; made with its schema when missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        with self.connection() as connection:
            _prepare(connection)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection with no transaction open."""
        connection = self._acquire()
        try:
            yield connection
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._release(connection)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that sees one state of the store until the block ends."""
        with self.connection() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection that holds the write lock; commits at the end, rolls back on any exception."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        if self._pid == os.getpid():
            for connection in idle:
                connection.close()

    def _acquire(self) -> sqlite3.Connection:
        with self._lock:
            if self._pid != os.getpid():
                # Forked: SQLite forbids using, or closing, what the parent process opened.
                _abandoned.extend(self._idle)
                self._idle, self._pid = [], os.getpid()
            if self._idle:
                return self._idle.pop()
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _release(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if self._pid == os.getpid() and len(self._idle) < 8:
                self._idle.append(connection)
                return
        connection.close()


_abandoned: list[sqlite3.Connection] = []


def _prepare(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
        try:
            # Switching to WAL needs the file alone and does not wait for it.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
            continue
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        for upgrade in _UPGRADES[found:]:
            for statement in upgrade.split(";"):
                connection.execute(statement)
        if found == 0:
            connection.execute(
                "INSERT INTO project (name, description, created) VALUES ('default', '', ?)", (now(),)
            )
        if found < SCHEMA_VERSION:
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
        if found > SCHEMA_VERSION:
            raise PlatformError(
                f"store of schema {found}; this version reads {SCHEMA_VERSION}",
                "use the release that wrote it, or a later one",
            )


def version(db: sqlite3.Connection) -> int:
    """Return a number that changes whenever another connection, of any process, commits a transaction."""
    return int(db.execute("PRAGMA data_version").fetchone()[0])
