"""Commits cost what they change, and a view stays shallow."""

from __future__ import annotations

import math

import pytest
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd.faces.client import EmbeddedClient
from chandlery.embedded.pachd.store import changes, layers, tables
from chandlery.embedded.pachd.store.store import Store

MASTER = pfs.Branch.from_uri("raw@master")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def client(store):
    client = EmbeddedClient(store)
    client.pfs.create_repo(repo=MASTER.repo)
    return client


def write(client, paths, content):
    with client.pfs.commit(branch=MASTER) as commit:
        requests = [pfs.ModifyFileRequest(set_commit=commit)]
        for path in paths:
            requests.append(pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path=path)))
            requests.append(pfs.ModifyFileRequest(add_file=pfs.AddFile(path=path, raw=content)))
        client.pfs.modify_file(iter(requests))
    return commit


def count(store):
    with store.database.reading() as db:
        return db.execute("SELECT count(*) FROM entry").fetchone()[0]


def test_small_commits_on_many_files(store, client):
    files, commits, changed = 1500, 60, 10
    write(client, [f"/f{n:04}" for n in range(files)], b"0")
    for at in range(commits):
        write(client, [f"/f{(at * 7 + n) % files:04}" for n in range(changed)], b"%d" % at)
    rows = count(store) - files
    # Each row is copied at most once for each doubling of its layer.
    assert rows <= commits * changed * (math.log2(commits) + 1)
    with store.database.reading() as db:
        deepest = max(len(layers.view(db, commit)) for commit in tables.commits(db, "true"))
    assert deepest <= math.log2(files) + 1


def test_empty_commits_cost_nothing(store, client):
    write(client, ["/a"], b"1")
    before = count(store)
    for _ in range(20):
        commit = write(client, [], b"")
    assert count(store) == before
    with store.database.reading() as db:
        last = next(tables.commits(db, "id = ?", commit.id))
        assert len(layers.view(db, last)) == 1
        assert (last.files, last.size) == (1, 1)


def test_totals_follow_overwrites_and_deletions(store, client):
    write(client, [f"/d/{n}" for n in range(10)], b"12345")
    write(client, ["/d/1", "/e"], b"1")
    with client.pfs.commit(branch=MASTER) as commit:
        commit.delete_file(path="/d/2")
        commit.delete_file(path="/d/1")
        commit.delete_file(path="/not-there")
    with store.database.reading() as db:
        last = next(tables.commits(db, "id = ?", commit.id))
    assert (last.files, last.size) == (9, 8 * 5 + 1)


@pytest.mark.parametrize("one_off", [True, False], ids=["commit of its own", "open commit"])
def test_a_finished_commit_has_its_files_cut_as_if_written_at_once(store, client, one_off):
    data = bytes(range(256)) * 100
    target = pfs.Commit(repo=MASTER.repo, branch=MASTER)
    for part in (data[:10_000], data[10_000:]):
        if not one_off:
            client.pfs.start_commit(branch=MASTER)
        client.pfs.put_file_from_bytes(commit=target, path="/pieces", data=part, append=True)
        if not one_off:
            client.pfs.finish_commit(commit=target)
    with store.database.reading() as db:
        last = tables.find_commit(db, tables.repos(db)[0], client.pfs.inspect_commit(commit=target).commit.id)
        entry = layers.lookup(db, layers.view(db, last), "/pieces")
        assert entry.whole
        assert len(entry.chunks) == 40, "one chunk, not one for each append"
        assert b"".join(store.chunks.read(db, entry.chunks)) == data


def test_a_long_stream_replaces_as_a_short_one_does(client, monkeypatch):
    # What is spilled on the way must not forget that the folder was emptied first: files would be appended to.
    monkeypatch.setattr(changes, "_SPILL_CHANGES", 2)
    for content, names in ((b"old", "abcde"), (b"new", "bcdef")):
        with client.pfs.commit(branch=MASTER) as commit:
            requests = [
                pfs.ModifyFileRequest(set_commit=commit),
                pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path="/")),
                *(pfs.ModifyFileRequest(add_file=pfs.AddFile(path=f"/{n}", raw=content)) for n in names),
            ]
            client.pfs.modify_file(iter(requests))
    listed = client.pfs.list_file(file=pfs.File(commit=commit, path="/"))
    assert [(info.file.path, info.size_bytes) for info in listed] == [(f"/{name}", 3) for name in "bcdef"]
