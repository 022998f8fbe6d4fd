"""Reading files: globs, offsets, TAR streams, what is not there."""

from __future__ import annotations

import io
import tarfile

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import file, read


def get(client, of, path, **arguments):
    return b"".join(piece.value for piece in client.pfs.get_file(file=file(of, path), **arguments))


def members(client, of, path, lower="", upper=""):
    """The names in the raw TAR stream of a range of paths."""
    stream = client.pfs.get_file_tar(file=file(of, path), path_range=pfs.PathRange(lower=lower, upper=upper))
    with tarfile.open(fileobj=io.BytesIO(b"".join(piece.value for piece in stream))) as tar:
        return [member.name + ("/" if member.isdir() else "") for member in tar]


@pytest.mark.parametrize(("offset", "rest"), [(0, b"0123456789"), (3, b"3456789"), (9, b"9"), (10, b"")])
def test_a_file_is_read_from_an_offset(client, master, put, offset, rest):
    """GetFile with an offset gives the rest of the file from there."""
    new = put(master, {"/ten": b"0123456789"})
    assert get(client, new, "/ten", offset=offset) == rest


def test_an_offset_beyond_the_end(client, master, put):
    """GetFile with an offset beyond the end gives nothing."""
    new = put(master, {"/ten": b"0123456789"})
    assert get(client, new, "/ten", offset=11) == b""


def test_get_file_takes_a_glob(client, master, put):
    """GetFile reads the one file that a glob matches."""
    new = put(master, {"/d/a.txt": b"1", "/d/b.txt": b"2", "/e/c.csv": b"3"})
    assert read(client, new, "/*/*.csv") == b"3"


def test_get_file_of_several_files_is_refused(client, master, put, refused):
    """GetFile of a glob that matches several files is refused: `matched multiple files`."""
    new = put(master, {"/d/a.txt": b"1", "/d/b.txt": b"2"})
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.get_file(file=file(new, "/d/*.txt")))
    assert "matched multiple files" in text


@pytest.mark.parametrize("path", ["/d", "/d/"])
def test_get_file_of_a_directory_is_refused(client, master, put, refused, path):
    """GetFile of a directory is refused: `Use GetFileTAR instead`."""
    new = put(master, {"/d/a.txt": b"1", "/d/b.txt": b"2"})
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.get_file(file=file(new, path)))
    assert "GetFileTAR instead" in text


@pytest.mark.parametrize("path", ["/nothing", "/d/*.csv", "/d/a.txt/x"])
def test_get_file_of_nothing_is_not_found(client, master, put, refused, path):
    """GetFile of a path or glob that matches nothing is NOT_FOUND."""
    new = put(master, {"/d/a.txt": b"1"})
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.get_file(file=file(new, path)))


def test_the_sdk_s_file_reads_in_pieces(client, master, put):
    """The SDK's file object reads piece by piece, as an ordinary file does."""
    new = put(master, {"/lines": b"one\ntwo\nthree"})
    opened = client.pfs.pfs_file(file(new, "/lines"))
    assert opened.read(5) == b"one\nt"
    assert opened.readline() == b"wo\n"
    assert opened.read() == b"three"


def test_a_tar_has_directories_and_absolute_names(client, master, put):
    """GetFileTAR gives what is below a directory: absolute names, every directory before its files."""
    new = put(master, {"/d/a": b"1", "/d/e/b": b"22", "/z": b""})
    assert members(client, new, "/d") == ["/d/", "/d/a", "/d/e/", "/d/e/b"]


def test_a_tar_of_everything(client, master, put):
    """GetFileTAR of `/` gives all files, also those with long names."""
    long = "long/" * 40 + "name"
    new = put(master, {"/d/a": b"1", "/d/e/b": b"22", "/z": b"", "/" + long: b"deep"})
    contents = {}
    with client.pfs.pfs_tar_file(file(new, "/")) as tar:
        for member in tar:
            if member.isfile():
                contents[member.name] = tar.extractfile(member).read()
    assert contents == {"d/a": b"1", "d/e/b": b"22", "z": b"", long: b"deep"}


def test_a_tar_of_a_glob(client, master, put):
    """GetFileTAR takes a glob."""
    new = put(master, {"/d/a.csv": b"1", "/d/b.txt": b"2", "/e/c.csv": b"3"})
    names = [name for name in members(client, new, "/*/*.csv") if not name.endswith("/")]
    assert names == ["/d/a.csv", "/e/c.csv"]


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        ("/f2", "/f4", ["/f2", "/f3"]),
        ("", "/f2", ["/f0", "/f1"]),
        ("/f4", "", ["/f4", "/f5"]),
        ("/f1", "/f3x", ["/f1", "/f2", "/f3"]),
    ],
)
def test_a_tar_of_a_range_of_paths(client, master, put, lower, upper, expected):
    """GetFileTAR of a range has the files from `lower` on and before `upper`."""
    new = put(master, {f"/f{n}": b"x" * n for n in range(6)})
    names = members(client, new, "/**", lower, upper)
    assert [name for name in names if not name.endswith("/")] == expected


@pytest.mark.parametrize("path", ["/", "/d"])
def test_a_directory_that_begins_before_the_range_is_not_in_it(client, master, put, refused, path):
    """GetFileTAR of a directory from a path within it on is NOT_FOUND; a glob that matches the files is not."""
    new = put(master, {"/d/a": b"1", "/d/b": b"2"})
    later = pfs.PathRange(lower="/d/b")
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.get_file_tar(file=file(new, path), path_range=later))
    assert members(client, new, "/d/*", "/d/b") == ["/d/b"]


def test_a_range_ends_with_the_directories_before_its_end(client, master, put):
    """GetFileTAR up to `/b/1` has the directory `/b/`, which begins before, and none of its files."""
    new = put(master, {"/a/1": b"1", "/b/1": b"2"})
    assert members(client, new, "/**", "/a/1", "/b/1") == ["/a/1", "/b/"]


def test_ranges_of_paths_share_out_a_tree(client, master, put):
    """Ranges that meet give every file exactly once, whatever directories it is in."""
    tree = {f"/{a}/{b}": b"x" for a in "abc" for b in "123"} | {"/a-": b"x", "/b.x": b"x"}
    new = put(master, tree)
    found = []
    for lower, upper in (("", "/a/2"), ("/a/2", "/b/1"), ("/b/1", "/c"), ("/c", "")):
        found += [name for name in members(client, new, "/**", lower, upper) if not name.endswith("/")]
    assert found == sorted(tree)


@pytest.mark.parametrize("path", ["/nothing", "/*.csv"])
def test_a_tar_of_nothing_is_not_found(client, master, put, refused, path):
    """GetFileTAR of what matches nothing is NOT_FOUND."""
    new = put(master, {"/a": b"1"})
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.get_file_tar(file=file(new, path)))


@pytest.mark.differs("real", "a real pachd has these")
@pytest.mark.parametrize(
    "call",
    [
        lambda client, of: client.pfs.get_file(file=of, url="s3://bucket/key"),
        lambda client, of: client.pfs.get_file_tar(file=of, offset=1),
        lambda client, of: client.pps.list_pipeline(),
        lambda client, of: client.pfs.fsck(),
    ],
    ids=["egress", "TAR from an offset", "pipelines", "fsck"],
)
def test_what_is_not_there_says_so(client, master, put, refused, call):
    """What the embedded pachd does not do is UNIMPLEMENTED, by name."""
    new = put(master, {"/a": b"1"})
    text = refused(StatusCode.UNIMPLEMENTED, lambda: call(client, file(new, "/a")))
    assert "not implemented" in text


@pytest.mark.differs("real", "pachd returns bytes of a neighbour")
def test_a_negative_offset_is_refused(client, master, put, refused):
    """GetFile from a negative offset is INVALID_ARGUMENT, and no sign of damage."""
    new = put(master, {"/a": b"123"})
    request = {"file": pfs.File(commit=new, path="/a"), "offset": -1}
    refused(StatusCode.INVALID_ARGUMENT, lambda: list(client.pfs.get_file(**request)))
