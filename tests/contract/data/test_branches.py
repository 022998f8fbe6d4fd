"""Branches: their heads, moving them, deleting them."""

from __future__ import annotations

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import branch, commit, listed, read


def test_a_new_branch_has_an_empty_head(client, repo):
    """CreateBranch without a head makes an empty finished commit of origin AUTO."""
    client.pfs.create_branch(branch=branch(repo, "dev"))
    info = client.pfs.inspect_branch(branch=branch(repo, "dev"))
    head = client.pfs.inspect_commit(commit=info.head)
    assert head.origin.kind == pfs.OriginKind.AUTO
    assert head.finished.timestamp() > 0
    assert listed(client, info.head) == []


def test_a_branch_moves_to_an_old_commit_and_goes_on_from_there(client, repo, master, put):
    """CreateBranch with a head moves the branch; the next commit has that head as its parent."""
    first = put(master, {"/a": b"1"})
    put(master, {"/a": b"2"})
    client.pfs.create_branch(branch=master, head=first)
    assert read(client, pfs.Commit(repo=repo, branch=master), "/a") == b"1"
    after = put(master, {"/b": b"3"})
    assert client.pfs.inspect_commit(commit=after).parent_commit.id == first.id


def test_a_head_may_be_a_reference(client, repo, master, put):
    """CreateBranch takes `branch^n` as a head."""
    first = put(master, {})
    put(master, {})
    client.pfs.create_branch(branch=branch(repo, "v1"), head=commit(repo, "master^"))
    assert client.pfs.inspect_branch(branch=branch(repo, "v1")).head.id == first.id


def test_a_tag_is_a_branch_with_a_fixed_head(client, repo, master, put):
    """A branch made at a commit stays there while others go on; deleted, it leaves its commits."""
    first = put(master, {"/a": b"1"})
    client.pfs.create_branch(branch=branch(repo, "v1"), head=first)
    put(master, {"/a": b"2"})
    assert client.pfs.inspect_branch(branch=branch(repo, "v1")).head.id == first.id
    client.pfs.delete_branch(branch=branch(repo, "v1"))
    assert not client.pfs.branch_exists(branch(repo, "v1"))
    assert client.pfs.commit_exists(first)


def test_branches_are_listed_newest_first(client, repo):
    """ListBranch tells the newest branch first, `reverse` the oldest."""
    for name in ("one", "two", "three"):
        client.pfs.create_branch(branch=branch(repo, name))

    def found(**arguments):
        return [info.branch.name for info in client.pfs.list_branch(repo=repo, **arguments)]

    assert found() == ["three", "two", "one"]
    assert found(reverse=True) == ["one", "two", "three"]


def test_a_repo_tells_its_branches(client, repo, master, put):
    """InspectRepo tells the branches of the repo."""
    put(master, {})
    client.pfs.create_branch(branch=branch(repo, "dev"))
    assert {each.name for each in client.pfs.inspect_repo(repo=repo).branches} == {"master", "dev"}


def test_creating_a_branch_again_leaves_its_head(client, master, put):
    """CreateBranch of an existing branch without a head leaves the head."""
    new = put(master, {})
    client.pfs.create_branch(branch=master)
    assert client.pfs.inspect_branch(branch=master).head.id == new.id


def test_a_missing_branch_is_not_found(client, repo, refused):
    """Inspecting or deleting a missing branch, or one with a missing head, is NOT_FOUND."""
    dev = branch(repo, "dev")
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.inspect_branch(branch=dev))
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.delete_branch(branch=dev))
    missing = commit(repo, "0123456789ab4123456789abcdefabcd")
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.create_branch(branch=dev, head=missing))


@pytest.mark.parametrize("stale", ["branch", "id"])
def test_a_branch_deleted_and_made_again_starts_anew(client, repo, master, put, stale):
    """A branch deleted and made again has nothing of the old one; the old commits stay."""
    old = put(master, {"/a": b"1"})
    client.pfs.delete_branch(branch=master)
    new = put(master, {"/b": b"2"})
    shown = {"branch": listed(client, new), "id": listed(client, old)}
    assert shown[stale] == {"branch": ["/b"], "id": ["/a"]}[stale]
