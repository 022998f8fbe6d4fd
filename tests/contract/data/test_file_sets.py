"""File sets: changes staged outside of any commit, then added in one step."""

from __future__ import annotations

import pytest
from grpc import RpcError, StatusCode
from pachyderm_sdk.api import pfs

from .words import add, commit, delete, files, read


@pytest.fixture
def stage(client):
    """Stage operations; returns the id of the file set."""
    return lambda *operations: client.pfs.create_file_set(iter(operations)).file_set_id


@pytest.fixture
def adding(client, master):
    """Add file sets to one new commit and return it finished."""

    def run(*ids):
        new = client.pfs.start_commit(branch=master)
        for id_ in ids:
            client.pfs.add_file_set(commit=new, file_set_id=id_)
        client.pfs.finish_commit(commit=new)
        assert client.pfs.wait_commit(new).error == ""
        return new

    return run


def test_a_file_set_is_added_in_one_step(client, master, put, stage):
    """A file set changes nothing before it is added, then all at once: deletions, appends, new files."""
    put(master, {"/a": b"1", "/b": b"2"})
    staged = stage(delete("/a"), add("/b", b"3"), add("/c", b"4"))
    new = client.pfs.start_commit(branch=master)
    assert files(client, new) == ["/a", "/b"]
    client.pfs.add_file_set(commit=new, file_set_id=staged)
    client.pfs.finish_commit(commit=new)
    assert files(client, new) == ["/b", "/c"]
    assert read(client, new, "/b") == b"23"


def test_a_file_set_added_twice_appends_twice(client, stage, adding):
    """A file set may be added again; what it appends is appended again."""
    staged = stage(add("/a", b"1"))
    assert read(client, adding(staged, staged), "/a") == b"11"


def test_file_sets_are_added_in_order(client, stage, adding):
    """File sets follow each other in a commit as streams do."""
    one, two = stage(add("/a", b"1"), add("/b", b"1")), stage(delete("/a"), add("/b", b"2"))
    new = adding(one, two)
    assert files(client, new) == ["/b"]
    assert read(client, new, "/b") == b"12"


@pytest.mark.parametrize("folder", ["/d/", "/"])
def test_a_folder_deleted_in_a_file_set_is_the_one_of_the_file_set(
    client, master, put, stage, adding, folder
):
    """A file set knows no commit: it deletes of a folder what it holds itself, and leaves the commit's files alone."""
    put(master, {"/a": b"1", "/d/x": b"1", "/d/y": b"1", "/d/z": b"1"})
    staged = stage(
        add("/d/x", b"2"),
        delete("/d/y"),
        add("/d/y", b"2"),
        delete("/d/z"),
        add("/d/new", b"2"),
        delete(folder),
    )
    new = adding(staged)
    # /d/y and /d/z were deleted one by one as well, which a file set does remember.
    assert files(client, new) == ["/a", "/d/x"]
    assert read(client, new, "/d/x") == b"1"


def test_a_file_set_goes_on_after_it_deleted_a_folder(client, master, put, stage, adding):
    """What a file set writes below a folder that it deleted is added to the commit's files."""
    put(master, {"/d/x": b"1", "/d/y": b"1"})
    new = adding(stage(add("/d/x", b"2"), delete("/d/"), add("/d/x", b"3"), add("/d/n", b"3")))
    assert files(client, new) == ["/d/n", "/d/x", "/d/y"]
    assert read(client, new, "/d/x") == b"13"


def test_file_sets_are_composed(client, stage, adding):
    """A composed file set does what its parts do one after the other."""
    one, two = stage(add("/a", b"1"), add("/b", b"1")), stage(delete("/a"), add("/b", b"2"), add("/c", b"3"))
    composed = client.pfs.compose_file_set(file_set_ids=[one, two], ttl_seconds=60).file_set_id
    new = adding(composed)
    assert files(client, new) == ["/b", "/c"]
    assert read(client, new, "/b") == b"12"


def test_the_file_set_of_a_commit_carries_its_files_elsewhere(client, master, new_repo, put):
    """GetFileSet of a commit gives a file set that puts all its files into another repo."""
    source = put(master, {"/a": b"1", "/d/b": b"2"})
    elsewhere = pfs.Branch(name="master", repo=new_repo())
    found = client.pfs.get_file_set(commit=source).file_set_id
    new = client.pfs.start_commit(branch=elsewhere)
    client.pfs.add_file_set(commit=new, file_set_id=found)
    client.pfs.finish_commit(commit=new)
    assert files(client, new) == ["/a", "/d/b"]
    assert read(client, new, "/d/b") == b"2"


def test_the_file_set_of_a_commit_appends(client, master, put, adding):
    """The files of GetFileSet are appended to what is there, as those of every file set."""
    source = put(master, {"/a": b"1"}, append=True)
    assert read(client, adding(client.pfs.get_file_set(commit=source).file_set_id), "/a") == b"11"


@pytest.mark.differs(
    "embedded", "the embedded pachd keeps what a commit shows, not how it came about: it appends"
)
def test_the_file_set_of_a_commit_replaces_what_the_commit_replaced(client, master, put, adding):
    """A file that was overwritten in a commit is overwritten by its GetFileSet too."""
    source = put(master, {"/a": b"1"})
    assert read(client, adding(client.pfs.get_file_set(commit=source).file_set_id), "/a") == b"1"


def test_a_file_set_is_renewed(client, stage, adding):
    """RenewFileSet lets a file set last longer; from one second to half an hour."""
    staged = stage(add("/a", b"1"))
    client.pfs.renew_file_set(file_set_id=staged, ttl_seconds=1800)
    assert files(client, adding(staged)) == ["/a"]


@pytest.mark.parametrize("seconds", [0, 1801])
def test_a_time_out_of_bounds_is_refused(client, stage, refused, seconds):
    """RenewFileSet for less than a second or more than half an hour is refused."""
    staged = stage(add("/a", b"1"))
    text = refused(
        StatusCode.UNKNOWN, lambda: client.pfs.renew_file_set(file_set_id=staged, ttl_seconds=seconds)
    )
    assert "ttl" in text


def test_a_finished_commit_takes_no_file_set(client, master, put, stage, refused):
    """Adding a file set to a finished commit is refused: `has already finished`."""
    new = put(master, {})
    staged = stage(add("/a", b"1"))
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.add_file_set(commit=new, file_set_id=staged))
    assert "has already finished" in text


def test_a_bad_path_is_refused_when_it_is_staged(stage, refused):
    """A file set with a path that no file may have is refused."""
    assert "invalid: " in refused(StatusCode.UNKNOWN, lambda: stage(add("/b*d", b"1")))


def test_an_id_that_is_none_is_refused(client, master, refused):
    """Adding, renewing and composing what is no file set is refused."""
    new = client.pfs.start_commit(branch=master)
    none = "no-such-file-set"
    refused(StatusCode.UNKNOWN, lambda: client.pfs.add_file_set(commit=new, file_set_id=none))
    refused(StatusCode.UNKNOWN, lambda: client.pfs.renew_file_set(file_set_id=none, ttl_seconds=60))
    refused(StatusCode.UNKNOWN, lambda: client.pfs.compose_file_set(file_set_ids=[none], ttl_seconds=60))
    client.pfs.finish_commit(commit=commit(master.repo, new.id))


@pytest.mark.differs("real", "a real pachd has these")
def test_changes_and_shards_are_not_implemented(client, master, put, stage, refused):
    """The file set of what a commit changed (DIFF), and shards of file sets, are UNIMPLEMENTED."""
    new = put(master, {"/a": b"1"})
    diff = pfs.GetFileSetRequestFileSetType.DIFF
    refused(StatusCode.UNIMPLEMENTED, lambda: client.pfs.get_file_set(commit=new, type=diff))
    staged = stage(add("/a", b"1"))
    refused(StatusCode.UNIMPLEMENTED, lambda: client.pfs.shard_file_set(file_set_id=staged))


@pytest.mark.parametrize("folder", ["/d/", "/"])
def test_deleting_a_folder_in_a_file_set_never_reaches_the_commit(client, master, put, stage, folder):
    """A deleted folder in a file set is UNIMPLEMENTED, or deletes only what the file set itself holds."""
    old = put(master, {"/d/old": b"1"})
    try:
        staged = stage(add("/d/new", b"2"), delete(folder))
    except RpcError as error:
        staged = ""
        refusal = str(error)
    if not staged:
        assert "deleting a folder in a file set" in refusal
        assert "/d/old" in files(client, old)
        return
    new = client.pfs.start_commit(branch=master)
    client.pfs.add_file_set(commit=new, file_set_id=staged)
    client.pfs.finish_commit(commit=new)
    assert "/d/old" in files(client, new)
