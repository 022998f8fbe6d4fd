"""States of commits, what they show, how they follow each other."""

from __future__ import annotations

import threading
import time

import grpc
import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs


def names(client, commit, path="/"):
    return [info.file.path for info in client.pfs.list_file(file=pfs.File(commit=commit, path=path))]


def read(client, commit, path):
    return client.pfs.pfs_file(pfs.File(commit=commit, path=path)).read()


def test_head_moves_when_the_commit_starts(client, master):
    commit = client.pfs.start_commit(branch=master)
    assert client.pfs.inspect_branch(branch=master).head.id == commit.id
    info = client.pfs.inspect_commit(commit=commit)
    assert info.finished.timestamp() == 0
    assert info.finishing.timestamp() == 0
    assert info.started.timestamp() > 0
    assert not info.commit.branch.name, "answers leave commit.branch empty"
    client.pfs.finish_commit(commit=commit)
    info = client.pfs.inspect_commit(commit=commit, wait=pfs.CommitState.FINISHED)
    assert info.started <= info.finishing <= info.finished


def test_one_open_commit_a_branch(client, master, refused):
    commit = client.pfs.start_commit(branch=master)
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.start_commit(branch=master))
    assert f"parent commit {master.repo.as_uri()}@{commit.id} has not been finished" in text
    client.pfs.finish_commit(commit=commit)
    client.pfs.start_commit(branch=master)


def test_finishing_twice_is_refused(client, master, put, refused):
    commit = put(master, {})
    assert "has already finished" in refused(
        StatusCode.UNKNOWN, lambda: client.pfs.finish_commit(commit=commit)
    )


def test_writing_into_a_finished_commit_is_refused_and_leaves_nothing(client, master, put, refused):
    commit = put(master, {"/a": b"1"})
    text = refused(
        StatusCode.UNKNOWN, lambda: client.pfs.put_file_from_bytes(commit=commit, path="/b", data=b"2")
    )
    assert "has already finished" in text
    assert names(client, commit) == ["/a"]


def test_open_commit_shows_parent_and_own_changes(client, master, put):
    put(master, {"/a": b"1", "/b": b"2"})
    commit = client.pfs.start_commit(branch=master)
    client.pfs.put_file_from_bytes(commit=commit, path="/c", data=b"3")
    client.pfs.delete_file(commit=commit, path="/a")
    assert names(client, commit) == ["/b", "/c"]
    client.pfs.finish_commit(commit=commit)


def test_writing_to_a_branch_makes_a_commit_of_its_own(client, master, repo):
    branch_only = pfs.Commit(branch=master, repo=repo)
    client.pfs.put_file_from_bytes(commit=branch_only, path="/a", data=b"1")
    client.pfs.put_file_from_bytes(commit=branch_only, path="/b", data=b"2")
    infos = list(client.pfs.list_commit(repo=repo))
    assert len(infos) == 2
    assert all(info.finishing.timestamp() > 0 for info in infos)
    assert names(client, branch_only) == ["/a", "/b"]


def test_writing_to_a_branch_with_an_open_head_goes_into_it(client, master, repo):
    commit = client.pfs.start_commit(branch=master)
    client.pfs.put_file_from_bytes(commit=pfs.Commit(branch=master, repo=repo), path="/a", data=b"1")
    assert [info.commit.id for info in client.pfs.list_commit(repo=repo)] == [commit.id]
    assert names(client, commit) == ["/a"]
    client.pfs.finish_commit(commit=commit)


def test_collision_of_file_and_directory_fails_the_commit_and_children_skip_it(client, master, put):
    first = put(master, {"/ok": b"1"})
    bad = put(master, {"/x": b"file", "/x/y": b"below it"})
    info = client.pfs.inspect_commit(commit=bad, wait=pfs.CommitState.FINISHED)
    assert info.error.startswith("file / directory path collision (/x")
    after = put(master, {"/new": b"2"})
    assert client.pfs.inspect_commit(commit=after).parent_commit.id == bad.id
    assert names(client, after) == ["/new", "/ok"]
    assert names(client, first) == ["/ok"]


@pytest.mark.parametrize(
    ("before", "then"),
    [({"/x": b"1"}, {"/x/y": b"2"}), ({"/x/y/z": b"1"}, {"/x/y": b"2"}), ({"/x/y/z": b"1"}, {"/x": b"2"})],
    ids=["file then below", "directory then file", "deep directory then file"],
)
def test_collision_with_what_the_parent_has(client, master, put, before, then):
    put(master, before)
    commit = put(master, then)
    assert "path collision" in client.pfs.inspect_commit(commit=commit).error


def test_replacing_a_directory_by_a_file_is_no_collision(client, master, put):
    put(master, {"/x/y": b"1", "/x/z": b"2"})
    commit = put(master, {"/x": b"3"}, delete=("/x/",))
    assert client.pfs.inspect_commit(commit=commit).error == ""
    assert names(client, commit) == ["/x"]


def test_finishing_with_an_error(client, master, put):
    put(master, {"/a": b"1"})
    commit = client.pfs.start_commit(branch=master)
    client.pfs.put_file_from_bytes(commit=commit, path="/b", data=b"2")
    client.pfs.finish_commit(commit=commit, error="the source broke off")
    assert (
        client.pfs.inspect_commit(commit=commit, wait=pfs.CommitState.FINISHED).error
        == "the source broke off"
    )
    assert names(client, put(master, {"/c": b"3"})) == ["/a", "/c"]


def test_clear_drops_what_was_written(client, master, put):
    put(master, {"/a": b"1"})
    commit = client.pfs.start_commit(branch=master)
    client.pfs.put_file_from_bytes(commit=commit, path="/b", data=b"2")
    client.pfs.delete_file(commit=commit, path="/a")
    client.pfs.clear_commit(commit=commit)
    client.pfs.finish_commit(commit=commit)
    assert names(client, commit) == ["/a"]


def test_description_and_size(client, master):
    commit = client.pfs.start_commit(branch=master, description="first")
    client.pfs.put_file_from_bytes(commit=commit, path="/a", data=b"12345")
    client.pfs.finish_commit(commit=commit)
    info = client.pfs.inspect_commit(commit=commit, wait=pfs.CommitState.FINISHED)
    assert info.description == "first"
    assert info.details.size_bytes == 5
    commit = client.pfs.start_commit(branch=master, description="second")
    client.pfs.put_file_from_bytes(commit=commit, path="/a", data=b"1")
    client.pfs.finish_commit(commit=commit, description="better")
    info = client.pfs.inspect_commit(commit=commit, wait=pfs.CommitState.FINISHED)
    assert info.description == "better"
    assert info.details.size_bytes == 1


def test_references(client, repo, master, put):
    ids = [put(master, {"/n": str(n).encode()}).id for n in range(4)]
    for text, expected in [
        ("master", ids[3]),
        ("master^", ids[2]),
        ("master^2", ids[1]),
        ("master~3", ids[0]),
        (f"{ids[3]}^1", ids[2]),
        ("master.1", ids[0]),
        ("master.3", ids[2]),
    ]:
        found = client.pfs.inspect_commit(commit=pfs.Commit(repo=repo, id=text)).commit.id
        assert found == expected, text
    assert read(client, pfs.Commit(repo=repo, id="master^2"), "/n") == b"1"


@pytest.mark.parametrize("text", ["master^9", "nobranch", "0123456789ab4123456789abcdefabcd", "master.77"])
def test_missing_references(client, repo, master, put, refused, text):
    put(master, {})
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.inspect_commit(commit=pfs.Commit(repo=repo, id=text)))


def test_missing_repo_and_existing_repo(client, repo, refused):
    nowhere = pfs.Repo(name="contract-nowhere")
    assert "not found" in refused(StatusCode.NOT_FOUND, lambda: client.pfs.inspect_repo(repo=nowhere))
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.start_commit(branch=pfs.Branch(name="m", repo=nowhere)))
    assert "already exists" in refused(StatusCode.ALREADY_EXISTS, lambda: client.pfs.create_repo(repo=repo))
    client.pfs.create_repo(repo=repo, update=True, description="changed")
    assert client.pfs.inspect_repo(repo=repo).description == "changed"


@pytest.mark.parametrize("name", ["with.dot", "with space", "ünicode", "a/b"])
def test_bad_repo_names(client, refused, name):
    refused(StatusCode.UNKNOWN, lambda: client.pfs.create_repo(repo=pfs.Repo(name=name)))


def test_list_commit_orders_and_limits(client, repo, master, put):
    ids = [put(master, {"/n": str(n).encode()}).id for n in range(4)]

    def listed(**arguments):
        return [info.commit.id for info in client.pfs.list_commit(repo=repo, **arguments)]

    def commit(n):
        return pfs.Commit(repo=repo, id=ids[n])

    assert listed() == ids[::-1]
    assert listed(reverse=True) == ids
    assert listed(number=2) == [ids[3], ids[2]]
    assert listed(to=commit(2)) == ids[2::-1]
    assert listed(to=commit(3), from_=commit(1)) == [ids[3], ids[2]]


def test_wait_returns_when_another_client_finishes(connect, master):
    writer, waiter = connect(), connect()
    commit = writer.pfs.start_commit(branch=master)
    reached = []
    thread = threading.Thread(target=lambda: reached.append(waiter.pfs.wait_commit(commit)))
    thread.start()
    time.sleep(0.2)
    assert not reached
    writer.pfs.finish_commit(commit=commit)
    thread.join(10)
    assert reached[0].finished.timestamp() > 0


def test_wait_honours_a_deadline(client, master):
    commit = client.pfs.start_commit(branch=master)

    class Deadline(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):
            return continuation(details._replace(timeout=0.3), request)

    before = client._channel
    client._channel = grpc.intercept_channel(before, Deadline())
    client._init_api()
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        client.pfs.wait_commit(commit)
    assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 5
    client._channel = before
    client._init_api()
    client.pfs.finish_commit(commit=commit)


def test_subscribe_replays_then_follows(connect, repo, master, put):
    ids = [put(master, {"/n": str(n).encode()}).id for n in range(2)]
    subscriber, writer = connect(), connect()
    seen = []

    def follow():
        for info in subscriber.pfs.subscribe_commit(
            repo=repo, branch="master", state=pfs.CommitState.FINISHED
        ):
            seen.append(info.commit.id)
            if len(seen) == 3:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while len(seen) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen == ids
    commit = writer.pfs.start_commit(branch=master)
    time.sleep(0.2)
    assert seen == ids, "an open commit is not told of before it is finished"
    writer.pfs.finish_commit(commit=commit)
    thread.join(10)
    assert seen == [*ids, commit.id]
    subscriber._channel.close()


def test_drop_moves_the_head_back(client, repo, master, put, refused):
    first, second = put(master, {"/a": b"1"}), put(master, {"/b": b"2"})
    assert "child" in refused(StatusCode.UNKNOWN, lambda: client.pfs.drop_commit(commit=first))
    client.pfs.drop_commit(commit=second)
    assert client.pfs.inspect_branch(branch=master).head.id == first.id
    assert names(client, pfs.Commit(repo=repo, branch=master)) == ["/a"]
    client.pfs.drop_commit(commit=first)
    assert names(client, pfs.Commit(repo=repo, branch=master)) == []
    assert client.pfs.inspect_branch(branch=master).head.id not in (first.id, second.id)


def test_drop_of_an_open_commit_frees_the_branch(client, master, put):
    first = put(master, {"/a": b"1"})
    half = client.pfs.start_commit(branch=master)
    client.pfs.put_file_from_bytes(commit=half, path="/b", data=b"2")
    client.pfs.drop_commit(commit=half)
    assert client.pfs.inspect_branch(branch=master).head.id == first.id
    assert names(client, put(master, {"/c": b"3"})) == ["/a", "/c"]


def test_squash_leaves_the_changes_to_the_children(client, repo, master, put, refused):
    first = put(master, {"/a": b"1", "/b": b"1"})
    middle = put(master, {"/a": b"2", "/c": b"2"}, delete=("/b",))
    last = put(master, {"/d": b"3"})
    assert "no children" in refused(StatusCode.UNKNOWN, lambda: client.pfs.squash_commit(commit=last))
    client.pfs.squash_commit(commit=middle)
    assert client.pfs.inspect_commit(commit=last).parent_commit.id == first.id
    assert names(client, last) == ["/a", "/c", "/d"]
    assert read(client, last, "/a") == b"2"
    client.pfs.squash_commit(commit=first)
    assert names(client, last) == ["/a", "/c", "/d"]
    assert [info.commit.id for info in client.pfs.list_commit(repo=repo)] == [last.id]


def test_find_commits_tells_where_a_file_changed(client, master, put):
    ids = [
        put(master, {"/a": b"1"}).id,
        put(master, {"/b": b"1"}).id,
        put(master, {"/a": b"2"}).id,
        put(master, {}, delete=("/a",)).id,
    ]
    answers = list(client.pfs.find_commits(start=pfs.Commit(repo=master.repo, id=ids[3]), file_path="/a"))
    assert [answer.found_commit.id for answer in answers if answer.found_commit.id] == [
        ids[3],
        ids[2],
        ids[0],
    ]
    assert answers[-1].last_searched_commit.id == ids[0]
    assert answers[-1].commits_searched == 4


def test_find_commits_from_an_open_commit_is_unavailable(client, master, refused):
    commit = client.pfs.start_commit(branch=master)
    text = refused(StatusCode.UNAVAILABLE, lambda: client.pfs.find_commits(start=commit, file_path="/a"))
    assert "not finished" in text
    client.pfs.finish_commit(commit=commit)
