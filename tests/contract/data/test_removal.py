"""Dropping and squashing commits."""

from __future__ import annotations

from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import branch, commit, listed, read


def test_drop_moves_the_head_back(client, repo, master, put):
    """Dropping the head moves the branch back to the parent."""
    first, second = put(master, {"/a": b"1"}), put(master, {"/b": b"2"})
    client.pfs.drop_commit(commit=second)
    assert client.pfs.inspect_branch(branch=master).head.id == first.id
    assert not client.pfs.commit_exists(second)
    assert listed(client, pfs.Commit(repo=repo, branch=master)) == ["/a"]


def test_drop_of_the_only_commit_leaves_an_empty_head(client, repo, master, put):
    """Dropping the only commit of a branch leaves it with a new empty one."""
    only = put(master, {"/a": b"1"})
    client.pfs.drop_commit(commit=only)
    head = client.pfs.inspect_branch(branch=master).head
    assert head.id != only.id
    assert client.pfs.inspect_commit(commit=head).origin.kind == pfs.OriginKind.AUTO
    assert listed(client, head) == []


def test_drop_of_a_commit_with_children_is_refused(client, master, put, refused):
    """A commit with children cannot be dropped."""
    first, _ = put(master, {"/a": b"1"}), put(master, {"/b": b"2"})
    assert "child" in refused(StatusCode.UNKNOWN, lambda: client.pfs.drop_commit(commit=first))


def test_drop_of_an_open_commit_frees_the_branch(client, master, put):
    """An open commit may be dropped; the branch goes on from its parent."""
    first = put(master, {"/a": b"1"})
    half = client.pfs.start_commit(branch=master)
    client.pfs.put_file_from_bytes(commit=half, path="/b", data=b"2")
    client.pfs.drop_commit(commit=half)
    assert client.pfs.inspect_branch(branch=master).head.id == first.id
    assert listed(client, put(master, {"/c": b"3"})) == ["/a", "/c"]


def test_drop_moves_every_branch_that_had_the_commit(client, repo, master, put):
    """Dropping a commit moves every branch back of which it was the head."""
    first, second = put(master, {}), put(master, {})
    client.pfs.create_branch(branch=branch(repo, "v2"), head=second)
    client.pfs.drop_commit(commit=second)
    assert client.pfs.inspect_branch(branch=branch(repo, "v2")).head.id == first.id


def test_squash_leaves_the_changes_to_the_child(client, master, put):
    """Squashing a commit takes it out of the line; what it changed is in its children."""
    first = put(master, {"/a": b"1", "/b": b"1"})
    middle = put(master, {"/a": b"2", "/c": b"2"}, delete=("/b",))
    last = put(master, {"/d": b"3"})
    client.pfs.squash_commit(commit=middle)
    assert client.pfs.inspect_commit(commit=last).parent_commit.id == first.id
    assert not client.pfs.commit_exists(middle)
    assert listed(client, last) == ["/a", "/c", "/d"]
    assert read(client, last, "/a") == b"2"


def test_squash_of_the_first_commit(client, repo, master, put):
    """Squashing the first commit makes its child the first."""
    first, last = put(master, {"/a": b"1"}), put(master, {"/d": b"3"})
    client.pfs.squash_commit(commit=first)
    assert [info.commit.id for info in client.pfs.list_commit(repo=repo)] == [last.id]
    assert not client.pfs.inspect_commit(commit=last).parent_commit.id
    assert listed(client, last) == ["/a", "/d"]


def test_squash_of_a_commit_without_children_is_refused(client, master, put, refused):
    """A commit without children cannot be squashed."""
    only = put(master, {"/a": b"1"})
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.squash_commit(commit=only))
    assert "no children" in text


def test_squash_under_an_open_child_is_refused(client, master, put, refused):
    """A commit cannot be squashed before its child is finished."""
    first = put(master, {"/a": b"1"})
    child = client.pfs.start_commit(branch=master)
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.squash_commit(commit=first))
    assert f"@{child.id} is finished" in text
    client.pfs.finish_commit(commit=child)


def test_a_commit_set_is_dropped_and_squashed_as_one(client, new_repo):
    """DropCommitSet and SquashCommitSet take all commits that share an id."""
    left, right = branch(new_repo()), branch(new_repo())
    ids = []
    for _ in range(3):
        with client.transaction.transaction():
            pair = [client.pfs.start_commit(branch=each) for each in (left, right)]
        for each in pair:
            client.pfs.finish_commit(commit=each)
            client.pfs.wait_commit(each)
        ids.append(pair[0].id)
    client.pfs.squash_commit_set(commit_set=pfs.CommitSet(id=ids[0]))
    client.pfs.drop_commit_set(commit_set=pfs.CommitSet(id=ids[2]))
    for each in (left, right):
        assert [info.commit.id for info in client.pfs.list_commit(repo=each.repo)] == [ids[1]]
        assert not client.pfs.commit_exists(commit(each.repo, ids[0]))
