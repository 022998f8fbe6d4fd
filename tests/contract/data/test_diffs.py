"""What differs between two commits."""

from __future__ import annotations

import pytest

from .test_listings import TREE
from .words import file


@pytest.fixture
def commit(master, put):
    return put(master, TREE)


def diff(client, **arguments):
    """Pairs of the new and the old path, an empty text for none."""
    return [(each.new_file.file.path, each.old_file.file.path) for each in client.pfs.diff_file(**arguments)]


def test_a_diff_is_against_the_parent(client, master, commit, put):
    """DiffFile tells what changed since the parent: files, and the directories that they are in."""
    after = put(master, {"/a/f": b"changed", "/new": b"1"}, delete=("/b",))
    assert diff(client, new_file=file(after, "/")) == [
        ("/", "/"),
        ("/a/", "/a/"),
        ("/a/f", "/a/f"),
        ("", "/b"),
        ("/new", ""),
    ]


def test_a_diff_of_a_directory(client, master, commit, put):
    """DiffFile of a directory tells only of what is in it."""
    after = put(master, {"/a/f": b"changed", "/new": b"1"})
    assert diff(client, new_file=file(after, "/a")) == [("/a/", "/a/"), ("/a/f", "/a/f")]
    assert diff(client, new_file=file(after, "/c")) == []


def test_a_shallow_diff_is_a_whole_one(client, master, commit, put):
    """DiffFile takes no notice of `shallow`."""
    after = put(master, {"/a/f": b"changed", "/new": b"1"}, delete=("/b",))
    deep = diff(client, new_file=file(after, "/"))
    assert diff(client, new_file=file(after, "/"), shallow=True) == deep
    assert ("/a/f", "/a/f") in deep


def test_a_diff_of_a_first_commit_is_all_of_it(client, commit):
    """DiffFile of a commit without a parent tells of everything."""
    found = diff(client, new_file=file(commit, "/a"))
    assert found == [("/a/", ""), ("/a/b/", ""), ("/a/b/f", ""), ("/a/f", "")]


def test_a_diff_of_two_commits(client, master, commit, put):
    """DiffFile compares any two commits; equal content is no difference, however it came about."""
    put(master, {"/x": b"1"})
    same = put(master, {}, delete=("/x",))
    assert diff(client, new_file=file(same, "/"), old_file=file(commit, "/")) == []


def test_a_diff_of_a_file(client, master, commit, put):
    """DiffFile of a file tells of that file."""
    after = put(master, {"/a/f": b"changed"})
    assert diff(client, new_file=file(after, "/a/f")) == [("/a/f", "/a/f")]
    assert diff(client, new_file=file(commit, "/b")) == [("/b", "")]
