"""Transactions: several requests, one commit id, all or nothing."""

from __future__ import annotations

from copy import copy

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import branch, commit, is_open


def outside(client):
    """The same client outside of its transaction."""
    other = copy(client)
    other.transaction_id = ""
    return other


def test_commits_of_one_transaction_have_one_id(client, new_repo):
    """Commits that one transaction starts in several repos share its id."""
    left, right = branch(new_repo()), branch(new_repo())
    with client.transaction.transaction() as transaction:
        one = client.pfs.start_commit(branch=left)
        two = client.pfs.start_commit(branch=right)
    assert one.id == two.id == transaction.id
    for each in (one, two):
        assert is_open(client.pfs.inspect_commit(commit=each))
        client.pfs.finish_commit(commit=each)
    assert len(list(client.pfs.inspect_commit_set(commit_set=pfs.CommitSet(id=one.id)))) == 2


def test_nothing_is_visible_before_the_end(client, new_repo):
    """Outside of a transaction nothing of it is seen before it is finished."""
    left = branch(new_repo())
    with client.transaction.transaction():
        client.pfs.start_commit(branch=left)
        assert not list(outside(client).pfs.list_commit(repo=left.repo))
    assert len(list(client.pfs.list_commit(repo=left.repo))) == 1


def test_a_commit_downstream_of_two_is_one(client, new_repo):
    """Two commits of one transaction open a single commit in the branch that depends on both."""
    left, right, joined = (branch(new_repo()) for _ in range(3))
    for each in (left, right):
        client.pfs.create_branch(branch=each)
    client.pfs.create_branch(branch=joined, provenance=[left, right])
    with client.transaction.transaction() as transaction:
        client.pfs.start_commit(branch=left)
        client.pfs.start_commit(branch=right)
    info = client.pfs.inspect_commit(commit=commit(joined.repo, transaction.id))
    assert {each.id for each in info.direct_provenance} == {transaction.id}
    assert len(info.direct_provenance) == 2


def test_repos_branches_and_finishes_go_into_a_transaction(client, new_repo):
    """Repos, branches, starts and finishes of one transaction take effect together."""
    left = branch(new_repo())
    started = client.pfs.start_commit(branch=left)
    extra = pfs.Repo(name=left.repo.name + "-extra")
    with client.transaction.transaction():
        client.pfs.create_repo(repo=extra)
        client.pfs.create_branch(branch=branch(extra, "dev"))
        client.pfs.finish_commit(commit=started)
    assert client.pfs.branch_exists(branch(extra, "dev"))
    assert client.pfs.wait_commit(started).finished.timestamp() > 0
    client.pfs.delete_repo(repo=extra)


def test_a_transaction_that_fails_leaves_nothing(client, new_repo):
    """A transaction given up leaves nothing of its requests."""
    left = branch(new_repo())

    def fail():
        with client.transaction.transaction():
            client.pfs.start_commit(branch=left)
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        fail()
    assert not client.pfs.branch_exists(left)


def test_a_request_refused_in_a_transaction_is_not_kept(client, new_repo, refused):
    """A request that is refused within a transaction is no part of it; the others are carried out."""
    left = branch(new_repo())
    with client.transaction.transaction():
        client.pfs.start_commit(branch=left)
        refused(StatusCode.UNKNOWN, lambda: client.pfs.start_commit(branch=left))
    assert len(list(client.pfs.list_commit(repo=left.repo))) == 1


def test_files_are_no_part_of_a_transaction(client, new_repo):
    """The SDK refuses to write files within a transaction."""
    from pachyderm_sdk.errors import InvalidTransactionOperation

    left = branch(new_repo())
    started = client.pfs.start_commit(branch=left)

    def write():
        with client.transaction.transaction():
            client.pfs.put_file_from_bytes(commit=started, path="/a", data=b"1")

    with pytest.raises(InvalidTransactionOperation):
        write()
    client.pfs.finish_commit(commit=started)


def test_open_transactions_are_told(client, new_repo, refused):
    """An open transaction can be inspected and listed; a finished one is NOT_FOUND."""
    left = branch(new_repo())
    with client.transaction.transaction() as transaction:
        client.pfs.start_commit(branch=left)
        info = client.transaction.inspect_transaction(transaction=transaction)
        assert len(info.requests) == 1
        listed = client.transaction.list_transaction().transaction_info
        assert transaction.id in {each.transaction.id for each in listed}
    refused(StatusCode.NOT_FOUND, lambda: client.transaction.inspect_transaction(transaction=transaction))
