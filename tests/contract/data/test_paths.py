"""Which paths a file may have, and how they are written."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from .words import files

REFUSED = ["/image (1).jpg", "/a+b.csv", "/naïve.txt", "/a*b", "/a?b", "/[x]", "/{x}", "/a!b", "/a@b", "/a^b",
           "/tab\tx", "/a/../b", "/./a", ".."]  # fmt: skip


@pytest.mark.parametrize("path", REFUSED)
def test_paths_that_are_refused(client, master, refused, path):
    """A path with other than printable ASCII, a glob's sign, `.` or `..` is refused: `path (...) invalid`."""
    new = client.pfs.start_commit(branch=master)
    text = refused(
        StatusCode.UNKNOWN, lambda: client.pfs.put_file_from_bytes(commit=new, path=path, data=b"1")
    )
    assert "invalid: " in text
    client.pfs.finish_commit(commit=new)
    assert files(client, new) == []


@pytest.mark.parametrize("path", ["/a*b", "/naïve.txt", "/a/../b"])
def test_such_paths_are_not_deleted_either(client, master, refused, path):
    """Deleting a path that no file may have is refused."""
    new = client.pfs.start_commit(branch=master)
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.delete_file(commit=new, path=path))
    assert "invalid: " in text
    client.pfs.finish_commit(commit=new)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("a", "/a"),
        ("//a//b", "/a/b"),
        ("/with space", "/with space"),
        ("/~a,b;c=d%20&e#f$'g\"", "/~a,b;c=d%20&e#f$'g\""),
        ("/...", "/..."),
        ("/a.", "/a."),
    ],
)
def test_paths_that_are_cleaned(client, master, put, given, stored):
    """A path is stored with one slash before each of its parts."""
    assert files(client, put(master, {given: b"1"})) == [stored]


def test_a_path_that_ends_with_a_slash_is_refused_or_cleaned(client, master, put):
    """A file put under `/d/` is stored as `/d`."""
    assert files(client, put(master, {"/d/": b"1"})) == ["/d"]


@pytest.mark.differs("real", "a real pachd takes the write")
def test_the_root_is_no_file(client, master, refused):
    """A file cannot be put at `/`."""
    new = client.pfs.start_commit(branch=master)
    refused(StatusCode.UNKNOWN, lambda: client.pfs.put_file_from_bytes(commit=new, path="/", data=b"1"))
    client.pfs.finish_commit(commit=new)
