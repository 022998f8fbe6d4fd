"""A store made by an earlier version is brought up to date; one of a later version is refused."""

from __future__ import annotations

import sqlite3

import pytest
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd import open_client
from chandlery.embedded.pachd.store.database import SCHEMA_VERSION
from chandlery.errors import PlatformError

MASTER = pfs.Branch.from_uri("raw@master")


@pytest.fixture
def store(tmp_path):
    """A store with one commit, and a way to write into its database."""
    client = open_client(tmp_path)
    client.pfs.create_repo(repo=MASTER.repo)
    with client.pfs.commit(branch=MASTER) as commit:
        commit.put_file_from_bytes("/a", b"1")

    def write(*statements):
        connection = sqlite3.connect(tmp_path / "pachd.sqlite", isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    return tmp_path, write


def test_a_store_of_the_first_version_keeps_its_commits_and_takes_triggers(store):
    path, write = store
    write("DROP TABLE branch_trigger", "PRAGMA user_version = 1")
    client = open_client(path)
    assert client.pfs.pfs_file(pfs.File.from_uri("raw@master:/a")).read() == b"1"
    release = pfs.Branch(name="release", repo=MASTER.repo)
    client.pfs.create_branch(branch=release, trigger=pfs.Trigger(branch="master", commits=1))
    with client.pfs.commit(branch=MASTER) as commit:
        pass
    assert client.pfs.inspect_branch(branch=release).head.id == commit.id


def test_a_store_of_the_second_version_keeps_its_small_files_and_takes_more(store):
    path, write = store
    write(
        "ALTER TABLE small_chunk RENAME TO newer",
        "CREATE TABLE small_chunk (digest BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID",
        "INSERT INTO small_chunk SELECT digest, data FROM newer",
        "DROP TABLE newer",
        "PRAGMA user_version = 2",
    )
    client = open_client(path)
    with client.pfs.commit(branch=MASTER) as commit:
        commit.put_file_from_bytes("/b", b"2")
        commit.put_file_from_bytes("/c", b"1")
    read = [client.pfs.pfs_file(pfs.File.from_uri(f"raw@master:/{name}")).read() for name in "abc"]
    assert read == [b"1", b"2", b"1"]
    connection = sqlite3.connect(path / "pachd.sqlite")
    assert connection.execute("SELECT count(rowid) FROM small_chunk").fetchone() == (2,)
    connection.close()


def test_a_store_of_a_later_version_is_refused_and_left_alone(store):
    path, write = store
    write(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(PlatformError, match=f"store of schema {SCHEMA_VERSION + 1}"):
        open_client(path)
    connection = sqlite3.connect(path / "pachd.sqlite")
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)
    connection.close()
