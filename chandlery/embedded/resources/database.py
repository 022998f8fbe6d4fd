"""The SQLite file under the embedded resource store: many processes, any of which may be killed at any time."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chandlery.errors import PlatformError
from chandlery.processes.locks import exclusive

_BUSY_SECONDS = 30.0
_VERSION = 1
_SCHEMA = """
CREATE TABLE clock (version INTEGER NOT NULL);
INSERT INTO clock VALUES (0);
CREATE TABLE resources (
  grp TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL,
  PRIMARY KEY (grp, kind, namespace, name)
) WITHOUT ROWID;
CREATE TABLE events (
  version INTEGER PRIMARY KEY, grp TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL,
  type TEXT NOT NULL, document TEXT NOT NULL
);
CREATE INDEX events_of_kind ON events (grp, kind, version);
CREATE TABLE forgotten (grp TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (grp, kind));
"""


class Database:
    """One connection, shared by the threads of a process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "resources.sqlite"
        self._lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PlatformError(
                f"{folder}: cannot be made: {error.strerror}", "choose another CHANDLERY_HOME"
            ) from error
        with self._opening(), self._translated():
            self._connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            # In WAL mode a killed process loses nothing with NORMAL; only a power cut may lose the last writes.
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._prepare()

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Return size and time of the database's files: another one after any writing, by whichever process."""
        found = []
        for path in (self._path, f"{self._path}-wal"):
            try:
                status = os.stat(path)
            except OSError:
                found.append((0, 0))
            else:
                found.append((status.st_size, status.st_mtime_ns))
        return tuple(found)

    def close(self) -> None:
        """Close the connection."""
        with self._opening(), self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view for several reads.

        Raises:
            PlatformError: the file cannot be read.
        """
        with self._transaction("DEFERRED") as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One atomic change; other writers wait.

        Raises:
            PlatformError: the file cannot be written (the disk is full, another process holds it for too long).
        """
        with self._transaction("IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _transaction(self, mode: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            self._connection.execute(f"BEGIN {mode}")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                # Not only after an exception raised here: a full disk may already have ended the transaction.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _prepare(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise PlatformError(
                f"{self._path}: has version {version}, this release reads version {_VERSION}",
                "use the release that wrote it, or another CHANDLERY_HOME",
            )

    @contextmanager
    def _opening(self) -> Iterator[None]:
        # Entering and leaving WAL mode can fail with "database is locked" without waiting, so only one process at a
        # time opens or closes. The kernel drops the lock of a killed process.
        path = self._path.parent / "lock"
        with ExitStack() as stack:
            try:
                stack.enter_context(exclusive(path))
            except OSError as error:
                raise PlatformError(
                    f"{path}: {error.strerror}", "make the folder writable, or choose another CHANDLERY_HOME"
                ) from error
            yield

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise PlatformError(
                f"{self._path}: {error}", "check that the disk has room and that the folder can be written"
            ) from error
