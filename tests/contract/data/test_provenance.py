"""Branches that depend on others, and the commits that follow downstream."""

from __future__ import annotations

import threading

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import branch, commit, is_open, listed, read


@pytest.fixture
def pair(client, new_repo):
    """A branch `raw@master` and `features@master`, which depends on it."""
    raw, features = branch(new_repo()), branch(new_repo())
    client.pfs.create_branch(branch=raw)
    client.pfs.create_branch(branch=features, provenance=[raw])
    return raw, features


@pytest.fixture
def line(client, pair, new_repo):
    """`raw@master`, `features@master` and `model@master`, each depending on the one before."""
    model = branch(new_repo())
    client.pfs.create_branch(branch=model, provenance=[pair[1]])
    return *pair, model


def finish_head(client, output):
    """Finish the open commit that creating a branch with provenance leaves."""
    head = client.pfs.inspect_branch(branch=output).head
    if is_open(client.pfs.inspect_commit(commit=head)):
        client.pfs.finish_commit(commit=head)
    client.pfs.wait_commit(head)
    return head


def repos(messages):
    return [message.repo.name for message in messages]


def test_a_branch_with_provenance_has_an_open_head(client, pair):
    """CreateBranch with provenance opens a commit of origin AUTO that depends on the head upstream."""
    raw, features = pair
    head = client.pfs.inspect_commit(commit=client.pfs.inspect_branch(branch=features).head)
    assert is_open(head)
    assert head.origin.kind == pfs.OriginKind.AUTO
    assert [each.id for each in head.direct_provenance] == [client.pfs.inspect_branch(branch=raw).head.id]


def test_a_missing_branch_upstream_is_made(client, new_repo):
    """CreateBranch with a branch in its provenance that is not there makes that branch too."""
    raw, features = branch(new_repo()), branch(new_repo())
    client.pfs.create_branch(branch=features, provenance=[raw])
    assert client.pfs.branch_exists(raw)


def test_a_commit_upstream_opens_one_downstream_with_the_same_id(client, pair, put):
    """A commit upstream opens one downstream: same id, origin AUTO, upstream in its provenance, head there."""
    raw, features = pair
    new = put(raw, {"/a": b"1"})
    output = client.pfs.inspect_commit(commit=commit(features.repo, new.id))
    assert output.commit.id == new.id
    assert output.origin.kind == pfs.OriginKind.AUTO
    assert is_open(output)
    assert repos(output.direct_provenance) == [raw.repo.name]
    assert client.pfs.inspect_branch(branch=features).head.id == new.id
    upstream = client.pfs.inspect_commit(commit=new)
    assert repos(upstream.direct_subvenance) == [features.repo.name]


def test_an_id_runs_down_a_line_of_branches(client, line, put):
    """A commit upstream opens one in every branch downstream, all with its id."""
    raw, features, model = line
    new = put(raw, {})
    for each in (features, model):
        assert client.pfs.inspect_branch(branch=each).head.id == new.id
    infos = client.pfs.inspect_commit_set(commit_set=pfs.CommitSet(id=new.id))
    order = [info.commit.repo.name for info in infos if info.commit.id == new.id]
    assert order == [raw.repo.name, features.repo.name, model.repo.name]


def test_anybody_may_write_and_finish_the_commit_downstream(client, pair):
    """The commit downstream is written and finished by whoever likes, once its provenance is finished."""
    raw, features = pair
    finish_head(client, features)
    upstream = client.pfs.start_commit(branch=raw)
    output = commit(features.repo, upstream.id)
    client.pfs.finish_commit(commit=upstream)
    client.pfs.inspect_commit(commit=output, wait=pfs.CommitState.READY)
    client.pfs.put_file_from_bytes(commit=output, path="/out", data=b"1")
    client.pfs.finish_commit(commit=output)
    infos = client.pfs.wait_commit_set(pfs.CommitSet(id=upstream.id))
    assert {raw.repo.name, features.repo.name} <= {info.commit.repo.name for info in infos}
    assert read(client, output, "/out") == b"1"


def test_ready_waits_for_the_provenance(connect, pair):
    """A commit downstream is READY when its provenance is finished, and not before."""
    raw, features = pair
    client, waiter = connect(), connect()
    finish_head(client, features)
    upstream = client.pfs.start_commit(branch=raw)
    output = commit(features.repo, upstream.id)
    reached = threading.Event()

    def wait():
        waiter.pfs.inspect_commit(commit=output, wait=pfs.CommitState.READY)
        reached.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not reached.wait(0.3)
    client.pfs.finish_commit(commit=upstream)
    assert reached.wait(60)
    thread.join()


@pytest.mark.differs(
    "real", "pachd's loop over a repo's commits waits for the parent, whose turn never comes"
)
def test_a_commit_finished_before_its_parent_waits_for_it(connect, pair, put):
    """A commit finished before its parent stays FINISHING, and is read only when both are finished."""
    raw, features = pair
    client, reader = connect(), connect()
    first = client.pfs.inspect_branch(branch=features).head
    upstream = put(raw, {"/a": b"1"})
    second = commit(features.repo, upstream.id)
    client.pfs.put_file_from_bytes(commit=second, path="/new", data=b"2")
    client.pfs.finish_commit(commit=second)
    info = client.pfs.inspect_commit(commit=second)
    assert info.finishing.timestamp() > 0
    assert info.finished.timestamp() == 0
    shown = []
    thread = threading.Thread(target=lambda: shown.extend(listed(reader, second)))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive(), "what is being finished is not read before it is"
    client.pfs.put_file_from_bytes(commit=first, path="/old", data=b"1")
    client.pfs.finish_commit(commit=first)
    thread.join(60)
    assert shown == ["/new", "/old"]
    assert client.pfs.inspect_commit(commit=second, wait=pfs.CommitState.FINISHED).details.size_bytes == 2


def test_an_open_commit_on_an_open_base_is_not_read(client, pair, put, refused):
    """An open commit whose base is open too cannot be read: `base commit ... unfinished`."""
    raw, features = pair
    new = put(raw, {})
    output = commit(features.repo, new.id)
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.list_file(file=pfs.File(commit=output, path="/")))
    assert "base commit" in text


def test_a_commit_cannot_be_started_on_an_output_branch(client, pair, refused):
    """A commit on a branch with provenance is refused: `cannot start a commit on an output branch`."""
    _, features = pair
    finish_head(client, features)
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.start_commit(branch=features))
    assert "cannot start a commit on an output branch" in text


def test_provenance_of_branches_is_told_both_ways(client, line):
    """A branch tells its direct provenance, all that is upstream, and all that is downstream."""
    raw, features, model = line
    info = client.pfs.inspect_branch(branch=model)
    assert repos(info.direct_provenance) == [features.repo.name]
    assert set(repos(info.provenance)) == {raw.repo.name, features.repo.name}
    assert set(repos(client.pfs.inspect_branch(branch=raw).subvenance)) == {
        features.repo.name,
        model.repo.name,
    }


def test_provenance_of_commits_is_walked(client, line, put):
    """WalkCommitProvenance goes upstream, WalkCommitSubvenance downstream, the nearest first."""
    raw, features, model = line
    new = put(raw, {"/a": b"1"})
    start = [commit(model.repo, new.id).as_picker()]
    up = [info.commit.repo.name for info in client.pfs.walk_commit_provenance(start=start)]
    assert up == [features.repo.name, raw.repo.name]
    down = [info.commit.repo.name for info in client.pfs.walk_commit_subvenance(start=[new.as_picker()])]
    assert down == [features.repo.name, model.repo.name]


def test_provenance_of_branches_is_walked(client, line):
    """WalkBranchProvenance goes upstream, WalkBranchSubvenance downstream, the nearest first."""
    raw, features, model = line
    up = client.pfs.walk_branch_provenance(start=[model.as_picker()])
    assert [info.branch.repo.name for info in up] == [features.repo.name, raw.repo.name]
    down = client.pfs.walk_branch_subvenance(start=[raw.as_picker()])
    assert [info.branch.repo.name for info in down] == [features.repo.name, model.repo.name]


def test_a_walk_is_limited_in_depth_and_number(client, line, put):
    """A walk ends at its depth, or after so many commits."""
    raw, features, _ = line
    new = put(raw, {})
    start = [new.as_picker()]
    for limit in ({"max_depth": 1}, {"max_commits": 1}):
        found = client.pfs.walk_commit_subvenance(start=start, **limit)
        assert [info.commit.repo.name for info in found] == [features.repo.name]


def test_an_id_resolves_through_the_provenance_of_its_set(client, new_repo, put):
    """An id that is not in a repo means the commit of that repo in the provenance of the id's set."""
    raw, labels, joined = (branch(new_repo()) for _ in range(3))
    fixed = put(labels, {"/l": b"1"})
    client.pfs.create_branch(branch=raw)
    client.pfs.create_branch(branch=joined, provenance=[raw, labels])
    new = put(raw, {"/a": b"1"})
    found = client.pfs.inspect_commit(commit=commit(labels.repo, new.id))
    assert found.commit.id == fixed.id
    infos = client.pfs.inspect_commit_set(commit_set=pfs.CommitSet(id=new.id))
    assert {(info.commit.repo.name, info.commit.id) for info in infos} == {
        (raw.repo.name, new.id),
        (joined.repo.name, new.id),
        (labels.repo.name, fixed.id),
    }


def test_a_branch_moved_upstream_is_followed(client, pair, put):
    """Moving a branch to an old commit opens a commit downstream that depends on it."""
    raw, features = pair
    first = put(raw, {"/a": b"1"})
    put(raw, {"/a": b"2"})
    client.pfs.create_branch(branch=raw, head=first)
    head = client.pfs.inspect_commit(commit=client.pfs.inspect_branch(branch=features).head)
    assert is_open(head)
    assert [each.id for each in head.direct_provenance] == [first.id]


def test_what_others_depend_on_is_not_deleted(client, pair, refused):
    """A branch or repo that another branch depends on is not deleted before that one."""
    raw, features = pair
    refused(StatusCode.UNKNOWN, lambda: client.pfs.delete_branch(branch=raw))
    refused(StatusCode.UNKNOWN, lambda: client.pfs.delete_repo(repo=raw.repo))
    client.pfs.delete_branch(branch=features)
    client.pfs.delete_branch(branch=raw)


def test_a_branch_is_not_in_its_own_provenance(client, pair, refused):
    """Provenance cannot go round in a circle."""
    raw, features = pair
    refused(StatusCode.INTERNAL, lambda: client.pfs.create_branch(branch=raw, provenance=[features]))


def test_provenance_within_a_repo_is_refused(client, repo, refused):
    """A branch cannot depend on a branch of its own repo."""
    client.pfs.create_branch(branch=branch(repo, "a"))
    again = branch(repo, "b")
    refused(
        StatusCode.UNKNOWN, lambda: client.pfs.create_branch(branch=again, provenance=[branch(repo, "a")])
    )


def test_drop_upstream_needs_recursive(client, pair, put, refused):
    """A commit with subvenance is dropped only with `recursive`, and then with all downstream."""
    raw, features = pair
    before = finish_head(client, features)
    new = put(raw, {"/a": b"1"})
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.drop_commit(commit=new))
    assert "with subvenance without recursive" in text
    client.pfs.drop_commit(commit=new, recursive=True)
    assert client.pfs.inspect_branch(branch=features).head.id == before.id


def test_provenance_taken_away_ends_the_dependence(client, pair, put):
    """A branch made again without provenance no longer follows."""
    raw, features = pair
    finish_head(client, features)
    client.pfs.create_branch(branch=features)
    head = client.pfs.inspect_branch(branch=features)
    assert head.direct_provenance == []
    put(raw, {})
    assert client.pfs.inspect_branch(branch=features).head.id == head.head.id
    client.pfs.finish_commit(commit=client.pfs.start_commit(branch=features))


def test_drop_never_takes_a_commit_that_has_children_downstream(client, new_repo, put, refused):
    """A commit whose subvenance has children is not dropped, not even with `recursive`: finished data stays."""
    first, second, out = (branch(new_repo(), "m") for _ in range(3))
    for name in (first, second):
        client.pfs.create_branch(branch=name)
    client.pfs.create_branch(branch=out, provenance=[first, second])
    finish_head(client, out)
    for source in (first, second):
        put(source, {"/a": b"1"})
        finish_head(client, out)
    dropped = client.pfs.inspect_branch(branch=first).head
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.drop_commit(commit=dropped, recursive=True))
    assert "children" in text
    assert client.pfs.inspect_branch(branch=out).head.id
