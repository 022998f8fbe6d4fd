"""The hashes of files and directories."""

from __future__ import annotations

import random

import pytest

from .words import digest, file, read


@pytest.fixture
def hash_of(client):
    return lambda of, path: client.pfs.inspect_file(file=file(of, path)).hash


@pytest.mark.parametrize("size", [1, 5, 999_999])
def test_the_hash_of_a_file_below_a_million_bytes(master, put, hash_of, size):
    """A file of less than 1,000,000 bytes has the hash B(B(content)), B being BLAKE2b-256."""
    data = random.Random(size).randbytes(size)
    assert hash_of(put(master, {"/f": data}), "/f") == digest(digest(data))


def test_the_hash_of_an_empty_file(master, put, hash_of):
    """An empty file has the hash B(nothing)."""
    assert hash_of(put(master, {"/f": b""}), "/f") == digest(b"")


@pytest.mark.differs(
    "real", "a real pachd gives it an empty chunk until the commit is finished: B(B(nothing))"
)
def test_the_hash_of_an_empty_file_that_an_open_commit_adds_to_twice(client, master, hash_of):
    """An empty file has the hash B(nothing), however often nothing was added to it."""
    new = client.pfs.start_commit(branch=master)
    for _ in range(2):
        client.pfs.put_file_from_bytes(commit=new, path="/f", data=b"", append=True)
    assert hash_of(new, "/f") == digest(b"")


def test_the_hash_of_a_directory(master, put, hash_of):
    """A directory has the hash of its children's hashes in order; their names are not in it."""
    new = put(master, {"/a": b"hello", "/d/b": b"", "/d/c": b"x"})
    hello, empty, x = digest(digest(b"hello")), digest(b""), digest(digest(b"x"))
    assert hash_of(new, "/d/") == digest(empty + x)
    assert hash_of(new, "/") == digest(hello + digest(empty + x))


def test_a_name_is_not_in_the_hash(master, put, hash_of):
    """A directory renamed, or with a file renamed in place, has the hash that it had."""
    new = put(master, {"/d/a": b"1", "/d/b": b"2", "/e/x": b"1", "/e/y": b"2"})
    assert hash_of(new, "/d") == hash_of(new, "/e")


def test_the_hash_does_not_tell_how_a_file_was_written(client, master, put, hash_of):
    """A file appended to piece by piece has the hash of one written at once."""
    data = random.Random(7).randbytes(300_000)
    put(master, {"/once": data, "/pieces": data[:40_000]})
    put(master, {"/pieces": data[40_000:100_001]}, append=True)
    new = put(master, {"/pieces": data[100_001:]}, append=True)
    assert hash_of(new, "/once") == hash_of(new, "/pieces") == digest(digest(data))
    assert read(client, new, "/pieces") == data


def test_the_hash_of_a_large_file_does_not_tell_how_it_was_written(client, master, put, hash_of):
    """The same holds for a file of more than 1,000,000 bytes."""
    data = random.Random(7).randbytes(1_500_000)
    put(master, {"/once": data, "/pieces": data[:400_000]})
    put(master, {"/pieces": data[400_000:1_000_001]}, append=True)
    new = put(master, {"/pieces": data[1_000_001:]}, append=True)
    assert hash_of(new, "/once") == hash_of(new, "/pieces")
    assert read(client, new, "/pieces") == data


def test_the_hash_of_content_without_a_cut(master, put, hash_of):
    """A larger file in whose content pachd finds no place to cut has the hash B(B(content)) too."""
    data = bytes(7_000_000)
    assert hash_of(put(master, {"/f": data}), "/f") == digest(digest(data))


@pytest.mark.differs(
    "embedded",
    "the embedded pachd cuts every 8 MiB, not where the content says, at 20,000,000 bytes at the latest",
)
def test_the_hash_of_a_large_file(master, put, hash_of):
    """A large file has the hash of its chunks' hashes, each chunk of 20,000,000 bytes at most."""
    data = bytes(21_000_000)
    expected = digest(digest(data[:20_000_000]) + digest(data[20_000_000:]))
    assert hash_of(put(master, {"/f": data}), "/f") == expected
