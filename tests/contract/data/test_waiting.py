"""Waiting for a state, and following the commits of a repo."""

from __future__ import annotations

import threading
import time

import grpc
import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import branch, commit, eventually


class Follower:
    """Reads a subscription in a thread of its own, on a client of its own, as the SDK needs it."""

    def __init__(self, client, **arguments):
        self._client = client
        self.seen = []
        self.error = None
        self._thread = threading.Thread(target=self._follow, kwargs=arguments, daemon=True)
        self._thread.start()

    def _follow(self, **arguments):
        try:
            for info in self._client.pfs.subscribe_commit(**arguments):
                self.seen.append(info.commit.id)
        except (grpc.RpcError, ValueError) as error:  # the channel is closed under it at the end
            self.error = error

    def has(self, ids):
        return eventually(lambda: len(self.seen) >= len(ids)) and self.seen == ids

    def close(self):
        self._client._channel.close()


@pytest.fixture
def follow(connect):
    """Follow a repo; every subscription ends with the test."""
    followers = []

    def start(**arguments):
        followers.append(Follower(connect(), **arguments))
        return followers[-1]

    yield start
    for follower in followers:
        follower.close()


def test_wait_returns_when_another_client_finishes(connect, master):
    """Waiting for FINISHED returns when somebody else finishes the commit, and not before."""
    writer, waiter = connect(), connect()
    new = writer.pfs.start_commit(branch=master)
    reached = []
    thread = threading.Thread(target=lambda: reached.append(waiter.pfs.wait_commit(new)))
    thread.start()
    thread.join(0.3)
    assert not reached
    writer.pfs.finish_commit(commit=new)
    thread.join(60)
    assert reached[0].finished.timestamp() > 0


def test_wait_honours_a_deadline(client, master):
    """A wait with a deadline ends in DEADLINE_EXCEEDED."""
    new = client.pfs.start_commit(branch=master)

    class Deadline(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):
            return continuation(details._replace(timeout=0.3), request)

    before = client._channel
    client._channel = grpc.intercept_channel(before, Deadline())
    client._init_api()
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        client.pfs.wait_commit(new)
    assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 30
    client._channel = before
    client._init_api()
    client.pfs.finish_commit(commit=new)


def test_waiting_for_a_commit_with_an_error_does_not_raise(client, master):
    """A wait for a commit that failed returns it, with its error; it does not raise."""
    new = client.pfs.start_commit(branch=master)
    client.pfs.finish_commit(commit=new, error="broken")
    assert client.pfs.wait_commit(new).error == "broken"


def test_waiting_for_a_missing_commit_is_not_found(client, repo, refused):
    """A wait for a commit that is not there is NOT_FOUND at once."""
    missing = commit(repo, "0123456789ab4123456789abcdefabcd")
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.wait_commit(missing))


def test_subscribe_replays_then_follows(client, follow, repo, master, put):
    """SubscribeCommit replays all commits in the order of their creation, then goes on with new ones."""
    ids = [put(master, {"/n": str(n).encode()}).id for n in range(3)]
    follower = follow(repo=repo, branch="master", state=pfs.CommitState.FINISHED)
    assert follower.has(ids)
    ids.append(put(master, {}).id)
    assert follower.has(ids)


def test_subscribe_waits_for_the_state(client, follow, repo, master):
    """SubscribeCommit tells of a commit once it is as far as was asked for."""
    started = follow(repo=repo, branch="master", state=pfs.CommitState.STARTED)
    finished = follow(repo=repo, branch="master", state=pfs.CommitState.FINISHED)
    new = client.pfs.start_commit(branch=master)
    assert started.has([new.id])
    assert finished.seen == []
    client.pfs.finish_commit(commit=new)
    assert finished.has([new.id])


def test_subscribe_to_a_branch_tells_of_commits_started_there(client, follow, repo, master, put):
    """SubscribeCommit of a branch tells of the commits started on it, not of the ones it was moved to."""
    first = put(master, {})
    client.pfs.create_branch(branch=branch(repo, "release"), head=first)
    other = put(branch(repo, "release"), {})
    last = put(master, {})
    assert follow(repo=repo, branch="master", state=pfs.CommitState.FINISHED).has([first.id, last.id])
    assert follow(repo=repo, branch="release", state=pfs.CommitState.FINISHED).has([other.id])


def test_subscribe_from_a_commit_leaves_out_only_that_one(follow, repo, master, put):
    """SubscribeCommit `from` a commit leaves out that commit, and tells of older ones all the same."""
    ids = [put(master, {}).id for _ in range(3)]
    follower = follow(repo=repo, branch="master", from_=commit(repo, ids[1]), state=pfs.CommitState.FINISHED)
    assert follower.has([ids[0], ids[2]])


def test_subscribe_to_a_missing_repo_is_not_found(client, refused):
    """SubscribeCommit of a missing repo is NOT_FOUND."""
    nowhere = pfs.Repo(name="contract-nowhere")
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.subscribe_commit(repo=nowhere))
