"""Changes of a stream, also once they have become so many that they are in the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from chandlery.embedded.pachd.store.changes import Change, ChangeSet, Effect, stored_changes
from chandlery.embedded.pachd.store.database import Database

CHANGES = [
    Change(Effect.APPEND, "/d/new", 1, b"x"),
    Change(Effect.REPLACE, "/d/over", 1, b"x"),
    Change(Effect.DELETE, "/d/gone"),
    Change(Effect.APPEND, "/d-", 1, b"x"),
    Change(Effect.APPEND, "/c", 1, b"x"),
]


@pytest.fixture(params=[False, True], ids=["held", "spilled"])
def changes(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Database, ChangeSet]:
    database = Database(tmp_path / "pachd.sqlite")
    found = ChangeSet(database, "id")
    for change in CHANGES:
        found.add(change)
    if request.param:
        found.spill()
    return database, found


def test_dropping_a_folder_keeps_the_deletions(changes: tuple[Database, ChangeSet]) -> None:
    database, found = changes
    found.drop_below("/d/")
    found.add(Change(Effect.APPEND, "/d/later", 1, b"x"))
    found.spill()
    with database.reading() as db:
        left = [(change.kind, change.path, change.size) for change in stored_changes(db, "id")]
    assert left == [
        (Effect.DELETE, "/d/over", 0),
        (Effect.DELETE, "/d/gone", 0),
        (Effect.APPEND, "/d-", 1),
        (Effect.APPEND, "/c", 1),
        (Effect.APPEND, "/d/later", 1),
    ]


def test_what_the_changes_put(changes: tuple[Database, ChangeSet]) -> None:
    found = changes[1]
    assert found.put_paths() == {"/d/new", "/d/over", "/d-", "/c"}
    found.add(Change(Effect.DELETE, "/c"))
    found.add(Change(Effect.DELETE_BELOW, "/d/"))
    found.add(Change(Effect.REPLACE, "/d/back", 1, b"x"))
    assert found.put_paths() == {"/d-", "/d/back"}
