"""Branches, their provenance, and the commits that follow downstream."""

from __future__ import annotations

import threading

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import metadata, pfs


def branch(repo, name="master"):
    return pfs.Branch(name=name, repo=repo)


@pytest.fixture
def pair(client, new_repo):
    """A branch `raw@master` and `features@master`, which depends on it."""
    raw, features = branch(new_repo()), branch(new_repo())
    client.pfs.create_branch(branch=raw)
    client.pfs.create_branch(branch=features, provenance=[raw])
    return raw, features


def test_a_new_branch_has_an_empty_head(client, repo):
    client.pfs.create_branch(branch=branch(repo, "dev"))
    info = client.pfs.inspect_branch(branch=branch(repo, "dev"))
    head = client.pfs.inspect_commit(commit=info.head)
    assert head.origin.kind == pfs.OriginKind.AUTO
    assert head.finished.timestamp() > 0
    assert list(client.pfs.list_file(file=pfs.File(commit=info.head, path="/"))) == []


def test_a_branch_moves_to_an_old_commit_and_goes_on_from_there(client, repo, master, put):
    first = put(master, {"/a": b"1"})
    put(master, {"/a": b"2"})
    client.pfs.create_branch(branch=master, head=first)
    assert (
        client.pfs.pfs_file(pfs.File(commit=pfs.Commit(repo=repo, branch=master), path="/a")).read() == b"1"
    )
    after = put(master, {"/b": b"3"})
    assert client.pfs.inspect_commit(commit=after).parent_commit.id == first.id


def test_a_tag_is_a_branch_with_a_fixed_head(client, repo, master, put):
    first = put(master, {"/a": b"1"})
    client.pfs.create_branch(branch=branch(repo, "v1"), head=first)
    put(master, {"/a": b"2"})
    assert client.pfs.inspect_branch(branch=branch(repo, "v1")).head.id == first.id
    assert {info.branch.name for info in client.pfs.list_branch(repo=repo)} == {"master", "v1"}
    client.pfs.delete_branch(branch=branch(repo, "v1"))
    assert not client.pfs.branch_exists(branch(repo, "v1"))
    assert client.pfs.commit_exists(first)


@pytest.mark.parametrize("name", ["v1.0", "a b", "a/b"])
def test_bad_branch_names(client, repo, refused, name):
    refused(StatusCode.UNKNOWN, lambda: client.pfs.create_branch(branch=branch(repo, name)))


def test_a_commit_upstream_opens_one_downstream_with_the_same_id(client, pair, put):
    raw, features = pair
    commit = put(raw, {"/a": b"1"})
    output = client.pfs.inspect_commit(commit=pfs.Commit(repo=features.repo, id=commit.id))
    assert output.commit.id == commit.id
    assert output.origin.kind == pfs.OriginKind.AUTO
    assert output.finished.timestamp() == 0
    assert [source.repo.name for source in output.direct_provenance] == [raw.repo.name]
    assert client.pfs.inspect_branch(branch=features).head.id == commit.id


def finish_head(client, output):
    head = client.pfs.inspect_branch(branch=output).head
    if client.pfs.inspect_commit(commit=head).finishing.timestamp() == 0:
        client.pfs.finish_commit(commit=head)


def test_anybody_may_write_and_finish_the_commit_downstream(client, pair, put):
    raw, features = pair
    finish_head(client, features)
    upstream = client.pfs.start_commit(branch=raw)
    output = pfs.Commit(repo=features.repo, id=upstream.id)
    client.pfs.finish_commit(commit=upstream)
    client.pfs.inspect_commit(commit=output, wait=pfs.CommitState.READY)
    client.pfs.put_file_from_bytes(commit=output, path="/out", data=b"1")
    client.pfs.finish_commit(commit=output)
    infos = client.pfs.wait_commit_set(pfs.CommitSet(id=upstream.id))
    assert {info.commit.repo.name for info in infos} >= {raw.repo.name, features.repo.name}
    assert client.pfs.pfs_file(pfs.File(commit=output, path="/out")).read() == b"1"


def test_ready_waits_for_the_provenance(connect, pair):
    raw, features = pair
    client, waiter = connect(), connect()
    finish_head(client, features)
    upstream = client.pfs.start_commit(branch=raw)
    output = pfs.Commit(repo=features.repo, id=upstream.id)
    reached = threading.Event()

    def wait():
        waiter.pfs.inspect_commit(commit=output, wait=pfs.CommitState.READY)
        reached.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not reached.wait(0.2)
    client.pfs.finish_commit(commit=upstream)
    assert reached.wait(10)
    thread.join()


def test_a_commit_finished_before_its_parent_waits_for_it(connect, pair, put):
    raw, features = pair
    client, reader = connect(), connect()
    first = client.pfs.inspect_branch(branch=features).head
    upstream = put(raw, {"/a": b"1"})
    second = pfs.Commit(repo=features.repo, id=upstream.id)
    client.pfs.put_file_from_bytes(commit=second, path="/new", data=b"2")
    client.pfs.finish_commit(commit=second)
    info = client.pfs.inspect_commit(commit=second)
    assert info.finishing.timestamp() > 0
    assert info.finished.timestamp() == 0
    shown = []

    def read():
        shown.extend(f.file.path for f in reader.pfs.list_file(file=pfs.File(commit=second, path="/")))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive(), "what is being finished is not read before it is"
    client.pfs.put_file_from_bytes(commit=first, path="/old", data=b"1")
    client.pfs.finish_commit(commit=first)
    thread.join(10)
    assert shown == ["/new", "/old"]
    assert client.pfs.inspect_commit(commit=second, wait=pfs.CommitState.FINISHED).details.size_bytes == 2


def test_a_commit_cannot_be_started_on_an_output_branch(client, pair, refused):
    _, features = pair
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.start_commit(branch=features))
    assert "cannot start a commit on an output branch" in text


def test_provenance_is_told_both_ways_and_walked(client, pair, new_repo, put):
    raw, features = pair
    model = branch(new_repo())
    client.pfs.create_branch(branch=model, provenance=[features])
    assert [each.repo.name for each in client.pfs.inspect_branch(branch=model).direct_provenance] == [
        features.repo.name
    ]
    upstream = {each.repo.name for each in client.pfs.inspect_branch(branch=model).provenance}
    assert upstream == {raw.repo.name, features.repo.name}
    downstream = {each.repo.name for each in client.pfs.inspect_branch(branch=raw).subvenance}
    assert downstream == {features.repo.name, model.repo.name}
    commit = put(raw, {"/a": b"1"})
    start = [pfs.Commit(repo=model.repo, id=commit.id).as_picker()]
    walked = [info.commit.repo.name for info in client.pfs.walk_commit_provenance(start=start)]
    assert [name for name in walked if name != model.repo.name] == [features.repo.name, raw.repo.name]
    walked = [info.commit.repo.name for info in client.pfs.walk_commit_subvenance(start=[commit.as_picker()])]
    assert [name for name in walked if name != raw.repo.name] == [features.repo.name, model.repo.name]


def test_an_id_resolves_through_the_provenance_of_its_set(client, new_repo, put):
    raw, labels, joined = (branch(new_repo()) for _ in range(3))
    fixed = put(labels, {"/l": b"1"})
    client.pfs.create_branch(branch=raw)
    client.pfs.create_branch(branch=joined, provenance=[raw, labels])
    commit = put(raw, {"/a": b"1"})
    found = client.pfs.inspect_commit(commit=pfs.Commit(repo=labels.repo, id=commit.id))
    assert found.commit.id == fixed.id


def test_what_others_depend_on_is_not_deleted(client, pair, refused):
    raw, features = pair
    refused(StatusCode.UNKNOWN, lambda: client.pfs.delete_branch(branch=raw))
    refused(StatusCode.UNKNOWN, lambda: client.pfs.delete_repo(repo=raw.repo))
    client.pfs.delete_branch(branch=features)
    client.pfs.delete_branch(branch=raw)


def test_a_branch_is_not_in_its_own_provenance(client, pair, refused):
    raw, features = pair
    refused(StatusCode.UNKNOWN, lambda: client.pfs.create_branch(branch=raw, provenance=[features]))


def test_drop_upstream_needs_recursive(client, pair, put, refused):
    raw, features = pair
    before = client.pfs.inspect_branch(branch=features).head.id
    finish_head(client, features)
    commit = put(raw, {"/a": b"1"})
    assert "subvenance" in refused(StatusCode.UNKNOWN, lambda: client.pfs.drop_commit(commit=commit))
    client.pfs.drop_commit(commit=commit, recursive=True)
    assert client.pfs.inspect_branch(branch=features).head.id == before


def test_a_transaction_gives_one_id_to_commits_in_several_repos(client, new_repo):
    left, right = branch(new_repo()), branch(new_repo())
    with client.transaction.transaction() as transaction:
        one = client.pfs.start_commit(branch=left)
        two = client.pfs.start_commit(branch=right)
        assert not list(_other(client).pfs.list_commit(repo=left.repo)), "nothing is visible before the end"
    assert one.id == two.id == transaction.id
    for commit in (one, two):
        assert client.pfs.inspect_commit(commit=commit).finished.timestamp() == 0
        client.pfs.finish_commit(commit=commit)
    assert len(list(client.pfs.inspect_commit_set(commit_set=pfs.CommitSet(id=one.id)))) == 2


def _other(client):
    """The same client outside of the transaction."""
    from copy import copy

    other = copy(client)
    other.transaction_id = ""
    return other


def test_a_transaction_that_fails_leaves_nothing(client, new_repo):
    left = branch(new_repo())

    def fail():
        with client.transaction.transaction():
            client.pfs.start_commit(branch=left)
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        fail()
    assert not client.pfs.branch_exists(left)


def test_a_request_refused_in_a_transaction_is_not_kept(client, new_repo, refused):
    left = branch(new_repo())
    with client.transaction.transaction():
        client.pfs.start_commit(branch=left)
        refused(StatusCode.UNKNOWN, lambda: client.pfs.start_commit(branch=left))
    assert len(list(client.pfs.list_commit(repo=left.repo))) == 1


def test_metadata_of_commit_branch_and_repo(client, repo, master, put, refused):
    commit = put(master, {})

    def edit(**parts):
        client.metadata.edit_metadata(edits=[metadata.Edit(**parts)])

    edit(commit=commit.as_picker(), add_key=metadata.EditAddKey(key="run", value="1"))
    edit(commit=commit.as_picker(), edit_key=metadata.EditEditKey(key="mlflow", value="2"))
    assert client.pfs.inspect_commit(commit=commit).metadata == {"run": "1", "mlflow": "2"}
    edit(commit=commit.as_picker(), delete_key=metadata.EditDeleteKey(key="run"))
    assert client.pfs.inspect_commit(commit=commit).metadata == {"mlflow": "2"}
    edit(branch=master.as_picker(), replace=metadata.EditReplace(replacement={"a": "b"}))
    assert client.pfs.inspect_branch(branch=master).metadata == {"a": "b"}
    edit(repo=repo.as_picker(), edit_key=metadata.EditEditKey(key="k", value="v"))
    assert client.pfs.inspect_repo(repo=repo).metadata == {"k": "v"}
    with pytest.raises(Exception, match="already exists"):
        edit(repo=repo.as_picker(), add_key=metadata.EditAddKey(key="k", value="w"))


def test_version_and_cluster(client):
    assert client.get_version().major == 2
    assert client.admin.inspect_cluster().id


def test_projects(client, refused):
    import uuid

    project = pfs.Project(name=f"contract-{uuid.uuid4().hex[:8]}")
    client.pfs.create_project(project=project, description="one")
    assert client.pfs.inspect_project(project=project).description == "one"
    refused(StatusCode.ALREADY_EXISTS, lambda: client.pfs.create_project(project=project))
    repo = pfs.Repo(name="inner", project=project)
    client.pfs.create_repo(repo=repo)
    assert client.pfs.repo_exists(repo)
    assert not client.pfs.repo_exists(pfs.Repo(name="inner"))
    refused(StatusCode.UNKNOWN, lambda: client.pfs.delete_project(project=project))
    client.pfs.delete_repo(repo=repo)
    client.pfs.delete_project(project=project)
    assert not client.pfs.project_exists(project)
