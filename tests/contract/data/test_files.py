"""Changing files: append, overwrite, delete, copy, all of a stream or nothing."""

from __future__ import annotations

import io

import grpc
import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import add, branch, delete, file, files, modify, read


def test_put_overwrites(client, master, put):
    """The SDK's put replaces the file of the parent commit."""
    put(master, {"/a": b"one"})
    assert read(client, put(master, {"/a": b"two"}), "/a") == b"two"


def test_append_extends_the_file_of_the_parent(client, master, put):
    """Appending extends the file of the parent commit; the parent stays as it was."""
    first = put(master, {"/a": b"one"})
    assert read(client, put(master, {"/a": b"+two"}, append=True), "/a") == b"one+two"
    assert read(client, first, "/a") == b"one"


def test_adds_of_one_stream_append_to_each_other(client, master):
    """Adds to one path in one stream append to each other, also with others between them."""
    new = client.pfs.start_commit(branch=master)
    modify(client, new, add("/a", b"1"), add("/b", b"x"), add("/a", b"2"), add("/a", b"3"))
    assert read(client, new, "/a") == b"123"
    client.pfs.finish_commit(commit=new)
    assert read(client, new, "/a") == b"123"


def test_delete_then_add_in_one_stream_overwrites(client, master):
    """A deletion in a stream undoes what came before it, and not what comes after."""
    new = client.pfs.start_commit(branch=master)
    modify(client, new, add("/a", b"1"))
    modify(client, new, add("/a", b"4"), delete("/a"), add("/a", b"5"), add("/a", b"6"))
    assert read(client, new, "/a") == b"56"
    client.pfs.finish_commit(commit=new)
    assert read(client, new, "/a") == b"56"


def test_streams_of_one_commit_follow_each_other(client, master):
    """Later streams of a commit append to and delete what earlier ones wrote."""
    new = client.pfs.start_commit(branch=master)
    modify(client, new, add("/a", b"1"), add("/b", b"1"))
    modify(client, new, add("/a", b"2"), delete("/b"))
    assert files(client, new) == ["/a"]
    assert read(client, new, "/a") == b"12"
    client.pfs.finish_commit(commit=new)


def test_a_directory_is_deleted_with_a_slash(client, master, put):
    """`/d/` deletes all below it and nothing beside it."""
    put(master, {"/d/a": b"1", "/d/e/b": b"2", "/da": b"3", "/d.x": b"4", "/d-/y": b"5"})
    assert files(client, put(master, {}, delete=("/d/",))) == ["/d-/y", "/d.x", "/da"]


def test_a_directory_is_not_deleted_without_a_slash(client, master, put):
    """`/d` deletes a file of that name, of a directory silently nothing."""
    put(master, {"/d/a": b"1", "/f": b"2"})
    assert files(client, put(master, {}, delete=("/d",))) == ["/d/a", "/f"]
    assert files(client, put(master, {}, delete=("/f",))) == ["/d/a"]


def test_a_file_is_not_deleted_with_a_slash(client, master, put):
    """`/f/` does not delete the file `/f`."""
    put(master, {"/f": b"2"})
    assert files(client, put(master, {}, delete=("/f/",))) == ["/f"]


def test_deleting_what_is_not_there_is_no_error(client, master, put):
    """A path that is not there, file or directory, is deleted without complaint."""
    put(master, {"/a": b"1"})
    new = put(master, {}, delete=("/nothing", "/nothing/"))
    assert client.pfs.inspect_commit(commit=new).error == ""
    assert files(client, new) == ["/a"]


def test_deleting_the_root_leaves_no_stale_file(client, master, put):
    """Deleting `/` and writing anew leaves only what was written."""
    put(master, {"/d/a": b"1", "/b": b"2"})
    new = put(master, {"/d/c": b"3"}, delete=("/",))
    assert files(client, new) == ["/d/c"]
    assert client.pfs.inspect_commit(commit=new).details.size_bytes == 1


def test_a_deleted_file_comes_back_empty_handed(client, master, put):
    """Appending to a file that the parent deleted starts it anew."""
    put(master, {"/a": b"old"})
    put(master, {}, delete=("/a",))
    assert read(client, put(master, {"/a": b"new"}, append=True), "/a") == b"new"


def test_an_empty_file_is_a_file(client, master, put):
    """A file of no bytes is stored, listed and read."""
    new = put(master, {"/empty": b""})
    assert files(client, new) == ["/empty"]
    assert read(client, new, "/empty") == b""


def test_appending_nothing_changes_nothing(client, master, put):
    """An append of no bytes leaves the file."""
    put(master, {"/a": b"1"})
    assert read(client, put(master, {"/a": b""}, append=True), "/a") == b"1"


def test_a_stream_that_is_refused_leaves_nothing(client, master, refused):
    """A stream refused in the middle leaves nothing, not even what came before."""
    new = client.pfs.start_commit(branch=master)
    refused(StatusCode.UNKNOWN, lambda: modify(client, new, add("/good", b"1"), add("/b*d", b"2")))
    client.pfs.finish_commit(commit=new)
    assert files(client, new) == []


def test_the_first_message_sets_the_commit(client, refused):
    """A stream that does not begin with set_commit is refused."""
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.modify_file(iter([add("/a", b"1")])))
    assert "first message must" in text


def test_a_file_of_several_messages(client, master):
    """A file larger than one message is put and read whole, and from an offset near its end."""
    data = bytes(range(251)) * 87_000
    with client.pfs.commit(branch=master) as new:
        new.put_file_from_file(path="/large", file=io.BytesIO(data))
    new.wait()
    assert len(data) > 20 * 1024 * 1024
    assert read(client, new, "/large") == data
    assert client.pfs.inspect_file(file=file(new, "/large")).size_bytes == len(data)
    tail = client.pfs.get_file(file=file(new, "/large"), offset=len(data) - 5)
    assert b"".join(piece.value for piece in tail) == data[-5:]


def test_copy_of_a_file(client, master, put):
    """A copied file replaces the target, or is appended to it."""
    first = put(master, {"/a": b"1", "/b": b"2", "/c": b"3"})
    with client.pfs.commit(branch=master) as new:
        new.copy_file(src=file(first, "/a"), dst="/b")
        new.copy_file(src=file(first, "/a"), dst="/c", append=True)
        new.copy_file(src=file(first, "/a"), dst="/d/new")
    new.wait()
    assert [read(client, new, path) for path in ("/a", "/b", "/c", "/d/new")] == [b"1", b"1", b"31", b"1"]


def test_copy_of_a_directory(client, master, put):
    """A directory is copied with all below it."""
    first = put(master, {"/d/a": b"1", "/d/e/b": b"2", "/d.x": b"3"})
    with client.pfs.commit(branch=master) as new:
        new.copy_file(src=file(first, "/d"), dst="/copy")
    new.wait()
    assert files(client, new) == ["/copy/a", "/copy/e/b", "/d.x", "/d/a", "/d/e/b"]


def test_copy_from_another_repo(client, master, new_repo, put):
    """A file is copied from a commit of another repo."""
    source = put(branch(new_repo()), {"/a": b"1"})
    with client.pfs.commit(branch=master) as new:
        new.copy_file(src=file(source, "/a"), dst="/b")
    new.wait()
    assert read(client, new, "/b") == b"1"


def test_put_files_of_a_folder(client, master, tmp_path):
    """put_files uploads a folder with what is in its folders."""
    for name, content in {"x/a.txt": b"1", "x/y/b.txt": b"2", "c.txt": b""}.items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with client.pfs.commit(branch=master) as new:
        new.put_files(source=tmp_path / "source", path="/in")
    new.wait()
    assert files(client, new) == ["/in/c.txt", "/in/x/a.txt", "/in/x/y/b.txt"]


def test_an_exception_within_the_sdk_s_commit_finishes_it(client, master):
    """The SDK's `with commit` finishes the commit without an error also when its body raises."""
    try:
        with client.pfs.commit(branch=master) as new:
            new.put_file_from_bytes("/half", b"1")
            raise RuntimeError("broke off")
    except RuntimeError:
        pass
    assert client.pfs.wait_commit(new).error == ""
    assert files(client, pfs.Commit(repo=master.repo, branch=master)) == ["/half"]


def test_copy_of_what_is_not_there_copies_nothing(client, master, put):
    """A copy whose source is not there is no error."""
    first = put(master, {"/a": b"1"})
    with client.pfs.commit(branch=master) as new:
        new.copy_file(src=file(first, "/nothing"), dst="/b")
        new.copy_file(src=file(first, "/"), dst="/all")
    assert client.pfs.wait_commit(new).error == ""
    assert files(client, new) == ["/a", "/all/a"]


TWICE = {
    "copied then written": [("copy", "/b", False), ("add", "/b")],
    "copied twice": [("copy", "/b", False), ("copy", "/b", True)],
    "written then copied": [("add", "/b"), ("copy", "/b", True)],
}
ONCE = {
    "deleted between": ([("copy", "/b", False), ("delete", "/b"), ("add", "/b")], b"new"),
    "emptied between": ([("copy", "/b", False), ("delete", "/"), ("add", "/b")], b"new"),
    "copied over": ([("add", "/b"), ("copy", "/b", False)], b"old"),
    "appended": ([("copy", "/a", True)], b"oldold"),
    "deleted, then appended": ([("add", "/b"), ("delete", "/b"), ("copy", "/b", True)], b"old"),
    "elsewhere": ([("copy", "/b", False), ("add", "/c"), ("copy", "/d", True)], b"old"),
}


def stream_of(steps, source):
    for kind, path, *append in steps:
        if kind == "copy":
            yield pfs.ModifyFileRequest(
                copy_file=pfs.CopyFile(dst=path, src=file(source, "/a"), append=append[0])
            )
        else:
            yield add(path, b"new") if kind == "add" else delete(path)


@pytest.mark.parametrize("case", TWICE)
def test_a_stream_cannot_copy_to_a_file_and_write_it_as_well(client, master, put, case):
    """A file put together from a copy and anything else within one stream never shows: nobody may rely on it."""
    source = put(master, {"/a": b"old"})
    new = client.pfs.start_commit(branch=master)
    told = ""
    try:
        modify(client, new, *stream_of(TWICE[case], source))
    except grpc.RpcError as error:  # here the stream is refused, there the commit ends in an error
        told = error.details()
    client.pfs.finish_commit(commit=new)
    info = client.pfs.wait_commit(new)
    assert "duplicate path output by different datums (/b" in (told or info.error)
    assert files(client, put(master, {"/z": b"1"})) == ["/a", "/z"]


@pytest.mark.parametrize("case", ONCE)
def test_a_stream_may_copy_and_write_different_files(client, master, put, case):
    """A copy over what was written, after a deletion, or to another file is what it says."""
    steps, expected = ONCE[case]
    source = put(master, {"/a": b"old"})
    new = client.pfs.start_commit(branch=master)
    modify(client, new, *stream_of(steps, source))
    client.pfs.finish_commit(commit=new)
    assert client.pfs.wait_commit(new).error == ""
    assert read(client, new, "/a" if case == "appended" else "/b") == expected
