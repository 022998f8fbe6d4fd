"""Branch triggers: a branch that follows another of its repo, by size or by number of commits."""

from __future__ import annotations

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import branch


@pytest.fixture
def follow(client, repo, master):
    """Make the branch `release` with a trigger on `master`, and return it."""

    def make(**conditions):
        release = branch(repo, "release")
        client.pfs.create_branch(branch=master)
        client.pfs.create_branch(branch=release, trigger=pfs.Trigger(branch="master", **conditions))
        return release

    yield make
    # A real pachd does not come back from deleting, even by force, a repo whose branches a trigger joins.
    for info in client.pfs.list_branch(repo=repo):
        client.pfs.delete_branch(branch=info.branch, force=True)


@pytest.fixture
def head(client):
    return lambda of: client.pfs.inspect_branch(branch=of).head.id


@pytest.fixture
def heads_follow(client, put, master, head):
    """Commit files of some sizes one after the other, and tell which commits `release` came to."""

    def run(release, *sizes):
        seen = []
        for at, size in enumerate(sizes):
            new = put(master, {f"/f{at}": b"x" * size})
            seen.append(head(release) == new.id)
        return seen

    return run


def test_a_trigger_by_commits_moves_the_head_to_the_commit(client, repo, master, follow, put, head):
    """A trigger by commits moves the branch to every n-th commit; no commit is made for it."""
    release = follow(commits=2)
    empty = head(release)
    first = put(master, {})
    second = put(master, {})
    assert head(release) == second.id
    third = put(master, {})
    fourth = put(master, {})
    assert head(release) == fourth.id
    ids = {info.commit.id for info in client.pfs.list_commit(repo=repo, origin_kind=pfs.OriginKind.USER)}
    assert ids == {first.id, second.id, third.id, fourth.id}
    assert empty not in ids


def test_a_trigger_by_size_counts_from_the_branch_s_own_head(follow, heads_follow):
    """A trigger by size moves the branch once its source shows that much more than the branch itself."""
    assert heads_follow(follow(size="100"), 60, 60, 60, 60) == [False, True, False, True]


def test_sizes_are_decimal(follow, heads_follow):
    """`1KB` is 1,000 bytes."""
    assert heads_follow(follow(size="1KB"), 999, 1) == [False, True]


def test_either_condition_fires(follow, heads_follow):
    """Of several conditions one is enough."""
    assert heads_follow(follow(size="1K", commits=2), 1000, 1, 1) == [True, False, True]


def test_all_conditions_when_told_so(follow, heads_follow):
    """With `all` every condition must hold."""
    assert heads_follow(follow(size="10", commits=2, all=True), 20, 1, 1, 20) == [False, True, False, True]


def test_a_trigger_without_condition_never_fires(follow, heads_follow):
    """A trigger with no condition at all never moves the branch."""
    assert heads_follow(follow(), 10, 10) == [False, False]


def test_triggers_form_chains(client, repo, master, follow, put, head):
    """A branch that follows a triggered branch moves with it, by its own condition."""
    release = follow(commits=1)
    stable = branch(repo, "stable")
    client.pfs.create_branch(branch=stable, trigger=pfs.Trigger(branch="release", commits=2))
    first = put(master, {})
    assert head(release) == first.id
    assert head(stable) != first.id
    second = put(master, {})
    assert head(stable) == second.id


def test_a_commit_with_an_error_fires_nothing(client, master, follow, put, head):
    """A commit that failed moves no branch; the next good one does."""
    release = follow(commits=1)
    bad = client.pfs.start_commit(branch=master)
    client.pfs.finish_commit(commit=bad, error="broken")
    client.pfs.wait_commit(bad)
    good = put(master, {})
    assert head(release) == good.id


def test_what_depends_on_a_triggered_branch_follows_with_an_id_of_its_own(
    client, new_repo, master, follow, put, head
):
    """A branch that depends on a triggered one gets a commit when it moves, in a commit set of its own."""
    release = follow(commits=1)
    features = branch(new_repo())
    client.pfs.create_branch(branch=features, provenance=[release])
    before = head(features)
    new = put(master, {})
    assert head(features) != before
    info = client.pfs.inspect_commit(commit=client.pfs.inspect_branch(branch=features).head)
    assert info.commit.id != new.id
    assert [each.id for each in info.direct_provenance] == [new.id]


def test_the_trigger_is_told(client, follow):
    """InspectBranch tells the trigger."""
    found = client.pfs.inspect_branch(branch=follow(size="1MB", commits=3, all=True)).trigger
    assert (found.branch, found.size, found.commits, found.all) == ("master", "1MB", 3, True)


def test_creating_the_branch_again_keeps_the_trigger(client, follow):
    """CreateBranch without a trigger leaves the one that the branch has."""
    release = follow(commits=3)
    client.pfs.create_branch(branch=release)
    assert client.pfs.inspect_branch(branch=release).trigger.commits == 3


def test_triggers_cannot_form_a_loop(client, master, follow, refused):
    """A trigger on a branch that follows this one is refused."""
    follow(commits=1)
    text = refused(
        StatusCode.UNKNOWN,
        lambda: client.pfs.create_branch(branch=master, trigger=pfs.Trigger(branch="release", commits=1)),
    )
    assert "triggers cannot form a loop" in text


@pytest.mark.parametrize(
    "trigger",
    [
        {"branch": "master", "size": "much"},
        {"branch": "master", "size": "1XB"},
        {"branch": "master", "commits": -1},
        {"branch": "dev", "commits": 1},
        {"commits": 1},
        {"branch": "a b", "commits": 1},
    ],
    ids=["no size", "no unit", "negative", "on itself", "no branch", "no name"],
)
def test_unsound_triggers_are_refused(client, repo, master, refused, trigger):
    """A trigger with a bad size, a negative number, no branch or itself as branch is refused; nothing is made."""
    client.pfs.create_branch(branch=master)
    dev = branch(repo, "dev")
    refused(StatusCode.UNKNOWN, lambda: client.pfs.create_branch(branch=dev, trigger=pfs.Trigger(**trigger)))
    assert not client.pfs.branch_exists(dev)


def test_a_trigger_needs_its_source(client, repo, refused):
    """A trigger on a branch that is not there is refused; nothing is made."""
    dev = branch(repo, "dev")
    trigger = pfs.Trigger(branch="master", commits=1)
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.create_branch(branch=dev, trigger=trigger))
    assert not client.pfs.branch_exists(dev)


def test_a_trigger_and_provenance_exclude_each_other(client, new_repo, repo, master, refused):
    """A branch with provenance cannot have a trigger."""
    client.pfs.create_branch(branch=master)
    raw = branch(new_repo())
    client.pfs.create_branch(branch=raw)
    trigger = pfs.Trigger(branch="master", commits=1)
    text = refused(
        StatusCode.UNKNOWN,
        lambda: client.pfs.create_branch(branch=branch(repo, "dev"), provenance=[raw], trigger=trigger),
    )
    assert "both provenance and a trigger" in text


def test_branches_joined_by_a_trigger_are_deleted_by_force(client, master, follow, refused):
    """A branch that follows or is followed by a trigger is deleted only with `force`."""
    release = follow(commits=1)
    for each in (master, release):
        text = refused(StatusCode.UNKNOWN, lambda each=each: client.pfs.delete_branch(branch=each))
        assert "cannot be deleted because it is" in text or "because it triggers" in text
    refused(StatusCode.UNKNOWN, lambda: client.pfs.delete_repo(repo=master.repo))
    client.pfs.delete_branch(branch=release, force=True)
    client.pfs.delete_branch(branch=master)


@pytest.mark.differs("real", "a real pachd has triggers by time")
def test_triggers_by_time_are_not_implemented(client, repo, master, refused):
    """A trigger by cron specification or rate limit is UNIMPLEMENTED."""
    client.pfs.create_branch(branch=master)
    for condition in ({"cron_spec": "@hourly"}, {"rate_limit_spec": "@hourly"}):
        trigger = pfs.Trigger(branch="master", **condition)
        refused(
            StatusCode.UNIMPLEMENTED,
            lambda trigger=trigger: client.pfs.create_branch(branch=branch(repo, "dev"), trigger=trigger),
        )
