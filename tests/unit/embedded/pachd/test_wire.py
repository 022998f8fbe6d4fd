"""The hand-written protobuf agrees with the SDK's."""

from __future__ import annotations

import contextlib

import pytest
from betterproto.lib.google.protobuf import BytesValue
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd.rpc import messages, operations, wire
from chandlery.embedded.pachd.store.failure import ServiceError
from chandlery.embedded.pachd.store.layers import Entry
from chandlery.embedded.pachd.store.tree import Node
from chandlery.protobuf import field

COMMIT = pfs.Commit(id="ab" * 16, repo=pfs.Repo(name="raw", type="user", project=pfs.Project(name="default")))


@settings(deadline=None)
@given(st.text(max_size=40), st.sampled_from(["", "default"]), st.binary(max_size=300))
def test_add_file_is_read_as_the_sdk_wrote_it(path, datum, raw):
    message = pfs.ModifyFileRequest(add_file=pfs.AddFile(path=path, datum=datum, raw=raw))
    read = operations.from_wire(bytes(message))
    assert isinstance(read, operations.Add)
    assert (read.path, read.datum, bytes(read.data)) == (path, datum, raw)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path="/a/")), operations.Delete("/a/", "")),
        (
            pfs.ModifyFileRequest(add_file=pfs.AddFile(path="/a", url=pfs.AddFileUrlSource(url="http://x"))),
            operations.AddUrl("/a", "", "http://x", False),
        ),
    ],
)
def test_other_operations(message, expected):
    assert operations.from_wire(bytes(message)) == expected


def test_commit_and_copy_off_the_wire():
    first = operations.from_wire(bytes(pfs.ModifyFileRequest(set_commit=COMMIT)))
    assert isinstance(first, operations.SetCommit)
    assert first.commit.id == COMMIT.id
    source = pfs.File(commit=COMMIT, path="/s")
    copied = operations.from_wire(
        bytes(pfs.ModifyFileRequest(copy_file=pfs.CopyFile(dst="/t", src=source, append=True)))
    )
    assert isinstance(copied, operations.Copy)
    assert (copied.target, copied.source.path, copied.append) == ("/t", "/s", True)


@settings(deadline=None)
@example(b"\r\x00\x00\x00\x00")  # the SDK's parser raises KeyError
@example(b"\x10\x00")  # a number where a message is to be
@given(st.binary(max_size=60))
def test_garbage_is_refused_not_crashed_on(data):
    with contextlib.suppress(ServiceError):
        operations.from_wire(data)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_bytes_value(data):
    assert wire.bytes_value(data) == bytes(BytesValue(value=data))


@settings(deadline=None)
@given(st.integers(0, 2**62), st.binary(min_size=32, max_size=32), st.integers(0, 4 * 10**15), st.booleans())
def test_file_info(size, digest, microseconds, directory):
    node = Node(
        "/d/" if directory else "/d/f", size, digest, None if directory else Entry("/d/f", size, b"", True)
    )
    stamp = wire.timestamp(microseconds)
    prefixes = field(1, bytes(COMMIT)), field(3, stamp) if stamp else b""
    read = pfs.FileInfo().parse(wire.file_info(*prefixes, node))
    expected = messages.file_info(COMMIT, microseconds, node.path, size, digest)
    assert read.to_dict() == pfs.FileInfo().parse(bytes(expected)).to_dict()
