"""One store on disk: its database, its chunks, and the transactions on them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chandlery.embedded.pachd.store.chunks import ChunkStore, records
from chandlery.embedded.pachd.store.database import Database, now
from chandlery.embedded.pachd.store.graph import Work
from chandlery.errors import PlatformError

FOLDER_MODE = 0o700


def open_store(root: Path) -> Store:
    """Open the store in a folder, which is made when missing.

    Raises:
        PlatformError: it cannot be opened, such as on a full disk where SQLite has no room for its index; or it is of a
            later version.
    """
    try:
        return Store(root)
    except (OSError, sqlite3.Error) as error:
        raise PlatformError(
            f"{root}: the store cannot be opened: {error}",
            "check that the disk has room and that the folder can be written",
        ) from error


class Store:
    """A store; many processes may have the same one open.

    Args:
        root: its folder, made when missing.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        self.root = root
        self.chunks = ChunkStore(root)
        self.database = Database(root / "pachd.sqlite")
        if os.listdir(root / "tmp"):
            with self.chunks.alone() as alone:
                if alone:
                    self.chunks.remove_unfinished()

    @contextmanager
    def work(self, set_id: str = "") -> Iterator[Work]:
        """Run a transaction on commits and branches; what follows downstream is made at its end."""
        with self.database.writing() as db:
            work = Work(db, self.chunks, set_id) if set_id else Work(db, self.chunks)
            yield work
            work.start_downstream()

    def collect(self) -> int:
        """Free what nothing refers to; does nothing while another call uses the chunks.

        Returns:
            The number of bytes of chunk files freed.
        """
        with self.chunks.alone() as alone:
            if not alone:
                return 0
            with self.database.writing() as db:
                expired = "(SELECT id FROM file_set WHERE expires >= ?)"
                db.execute(f"DELETE FROM change WHERE file_set NOT IN {expired}", (now(),))
                db.execute("DELETE FROM file_set WHERE expires < ?", (now(),))
                wanted = _referenced(db)
                unwanted = [
                    row for row in db.execute("SELECT digest FROM small_chunk") if row[0] not in wanted
                ]
                db.executemany("DELETE FROM small_chunk WHERE digest = ?", unwanted)
            return self.chunks.sweep(wanted)

    def garbage(self) -> tuple[int, int]:
        """Return how many chunk files `collect` would free now, and their bytes."""
        with self.chunks.alone() as alone:
            if not alone:
                return 0, 0
            with self.database.reading() as db:
                live = "WHERE file_set IN (SELECT id FROM file_set WHERE expires >= ?)"
                sizes = [
                    path.stat().st_size for path in self.chunks.unwanted(_referenced(db, live, (now(),)))
                ]
            return len(sizes), sum(sizes)

    def close(self) -> None:
        """Release the connections."""
        self.database.close()


def _referenced(
    db: sqlite3.Connection, changes: str = "WHERE true", values: tuple[int, ...] = ()
) -> set[bytes]:
    wanted: set[bytes] = set()
    for rows in (
        db.execute("SELECT DISTINCT chunks FROM entry WHERE chunks IS NOT NULL"),
        db.execute(f"SELECT DISTINCT chunks FROM change {changes} AND chunks IS NOT NULL", values),
    ):
        for (chunks,) in rows:
            wanted.update(digest for digest, _ in records(chunks))
    return wanted
