"""What a real pachd does where the embedded one is known to differ: the rows of docs/embedded-pachd.md.

Each test tells what was seen on a real pachd (testpachd at e237475e9910). On the embedded store it has to fail; once it
passes there, the row goes.
"""

from __future__ import annotations

import uuid

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import add, branch, commit, modify, read


def embedded(reason: str) -> pytest.MarkDecorator:
    return pytest.mark.differs("embedded", reason)


@embedded("lists of commits have no details")
def test_lists_of_commits_tell_their_size(client, master, put):
    """ListCommit fills `details.size_bytes`, as InspectCommit does."""
    new = put(master, {"/a": b"123"})
    (info,) = client.pfs.list_commit(repo=master.repo, to=new, number=1)
    assert info.details.size_bytes == 3


@embedded("an unknown commit set is an empty one")
def test_an_unknown_commit_set_is_not_found(client, refused):
    """InspectCommitSet of an id that no commit has is NOT_FOUND."""
    unknown = pfs.CommitSet(id=uuid.uuid4().hex)
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.inspect_commit_set(commit_set=unknown))


@embedded("a collision is readable until its commit is finished")
def test_a_collision_in_an_open_commit_refuses_every_read(client, master, refused):
    """Paths `/a` and `/a/a` in an open commit: reading it is UNKNOWN."""
    new = client.pfs.start_commit(branch=master)
    modify(client, new, add("/a", b"1"), add("/a/a", b"2"))
    refused(StatusCode.UNKNOWN, lambda: read(client, new, "/a/a"))


@embedded("the repos are deleted with the project")
def test_a_project_with_repos_is_not_deleted(client):
    """DeleteProject with force is refused while a repo is in it."""
    project = pfs.Project(name=f"contract-{uuid.uuid4().hex[:8]}")
    client.pfs.create_project(project=project)
    repo = pfs.Repo(name="held", type="user", project=project)
    client.pfs.create_repo(repo=repo)
    try:
        with pytest.raises(Exception, match=r".+"):
            client.pfs.delete_project(project=project, force=True)
    finally:
        if client.pfs.repo_exists(repo):
            client.pfs.delete_repo(repo=repo, force=True)
            client.pfs.delete_project(project=project)


@embedded("any 32 letters and digits are a branch's name")
def test_a_branch_is_not_named_like_a_commit(client, repo, refused):
    """A branch whose name is a version 4 UUID without dashes is refused."""
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.start_commit(branch=branch(repo, uuid.uuid4().hex)))
    assert "UUID" in text


@embedded("an id that only counts back is not found")
def test_a_commit_may_be_counted_back_from_its_branch(client, master, put):
    """A commit of branch `master` with the id `^` is the parent of its head."""
    first, _ = put(master, {"/a": b"1"}), put(master, {"/a": b"2"})
    found = client.pfs.inspect_commit(commit=pfs.Commit(repo=master.repo, branch=master, id="^"))
    assert found.commit.id == first.id


@embedded("`master.0` is the first commit")
def test_the_first_commit_has_number_one(client, master, put, refused):
    """`master.0` is an invalid offset."""
    put(master, {"/a": b"1"})
    text = refused(
        StatusCode.UNKNOWN, lambda: client.pfs.inspect_commit(commit=commit(master.repo, "master.0"))
    )
    assert "offset" in text


@embedded("a meta repo needs no user repo")
def test_a_meta_repo_needs_its_user_repo(client, refused):
    """CreateRepo of type `meta` without the user repo of that name is NOT_FOUND."""
    repo = pfs.Repo(name=f"contract-{uuid.uuid4().hex[:12]}", type="meta")
    try:
        refused(StatusCode.NOT_FOUND, lambda: client.pfs.create_repo(repo=repo))
    finally:
        if client.pfs.repo_exists(repo):
            client.pfs.delete_repo(repo=repo, force=True)


@embedded("a path is demanded")
def test_commits_are_found_for_the_root(client, master, put):
    """FindCommits of `/` finds the commits that changed anything."""
    new = put(master, {"/a": b"1"})
    answers = list(client.pfs.find_commits(start=new, file_path="/"))
    assert new.id in [answer.found_commit.id for answer in answers]


@embedded("a transaction tells no responses before it is finished")
def test_an_open_transaction_tells_what_was_started_in_it(client, master):
    """InspectTransaction of an open transaction has the response of each request."""
    with client.transaction.transaction() as transaction:
        client.pfs.start_commit(branch=master)
        info = client.transaction.inspect_transaction(transaction=transaction)
        assert len(info.responses) == 1
