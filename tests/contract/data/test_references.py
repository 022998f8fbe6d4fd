"""How a commit is referred to: by id, by branch, by its distance from either."""

from __future__ import annotations

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import branch, commit, read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("master", 3),
        ("master^", 2),
        ("master^0", 3),
        ("master^2", 1),
        ("master~1", 2),
        ("master~3", 0),
        ("master^^", 1),
        ("master.1", 0),
        ("master.3", 2),
    ],
)
def test_ancestors_of_a_branch(client, repo, master, put, text, expected):
    """`branch^n` and `branch~n` are the n-th ancestor of the head, `branch.n` the n-th commit from the root."""
    ids = [put(master, {"/n": str(n).encode()}).id for n in range(4)]
    assert client.pfs.inspect_commit(commit=commit(repo, text)).commit.id == ids[expected]


def test_ancestors_of_a_commit(client, repo, master, put):
    """`id^n` is the n-th ancestor of a commit."""
    ids = [put(master, {"/n": str(n).encode()}).id for n in range(3)]
    assert client.pfs.inspect_commit(commit=commit(repo, f"{ids[2]}^2")).commit.id == ids[0]


def test_a_file_is_read_at_an_ancestor(client, repo, master, put):
    """A file is read at `branch^n` as at any commit."""
    for n in range(3):
        put(master, {"/n": str(n).encode()})
    assert read(client, commit(repo, "master^2"), "/n") == b"0"


def test_a_branch_is_a_reference_to_its_head(client, master, put):
    """A commit with only a branch means the branch's head."""
    new = put(master, {"/a": b"1"})
    by_branch = pfs.Commit(branch=master, repo=master.repo)
    assert client.pfs.inspect_commit(commit=by_branch).commit.id == new.id
    assert read(client, by_branch, "/a") == b"1"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "nobranch", marks=pytest.mark.differs("real", "a pachd of January 2025 panics over it: ABORTED")
        ),
        "0123456789ab4123456789abcdefabcd",
    ],
)
def test_a_reference_to_nothing_is_not_found(client, repo, master, put, refused, text):
    """A missing branch, an unknown id: NOT_FOUND."""
    put(master, {})
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.inspect_commit(commit=commit(repo, text)))


@pytest.mark.parametrize("text", ["master^9", "master.77"])
def test_an_ancestor_that_is_not_there_is_an_invalid_offset(client, repo, master, put, refused, text):
    """An ancestor too far back, a commit that the branch has not reached: UNKNOWN."""
    put(master, {})
    told = refused(StatusCode.UNKNOWN, lambda: client.pfs.inspect_commit(commit=commit(repo, text)))
    assert "invalid offset" in told


def test_missing_commits_and_branches_do_not_exist(client, repo, master, put):
    """commit_exists and branch_exists tell True and False, they do not raise."""
    new = put(master, {})
    assert client.pfs.commit_exists(new)
    assert not client.pfs.commit_exists(commit(repo, "0123456789ab4123456789abcdefabcd"))
    assert client.pfs.branch_exists(master)
    assert not client.pfs.branch_exists(branch(repo, "nobranch"))


def test_a_picker_names_a_commit(client, master, new_repo, put):
    """A CommitPicker picks by id, by the head of a branch, by ancestor and from the root of a branch."""
    downstream = branch(new_repo())
    client.pfs.create_branch(branch=master)
    client.pfs.create_branch(branch=downstream, provenance=[master])
    first, second = put(master, {"/n": b"1"}), put(master, {"/n": b"2"})

    def follows(picker):
        return [info.commit.id for info in client.pfs.walk_commit_subvenance(start=[picker])][-1]

    head = pfs.CommitPicker(branch_head=master.as_picker())
    assert follows(second.as_picker()) == second.id
    assert follows(head) == second.id
    above = pfs.CommitPickerAncestorOf(start=head, offset=1)
    assert follows(pfs.CommitPicker(ancestor=above)) == first.id
