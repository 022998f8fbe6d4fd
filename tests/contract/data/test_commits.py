"""The states of a commit, and what it shows in each."""

from __future__ import annotations

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import add, commit, is_open, listed, modify, read


def test_the_head_moves_when_a_commit_starts(client, master):
    """A branch's head is the new commit from its start on, not from its finish."""
    new = client.pfs.start_commit(branch=master)
    assert client.pfs.inspect_branch(branch=master).head.id == new.id
    client.pfs.finish_commit(commit=new)


def test_states_come_in_order(client, master):
    """A commit is started, then finishing, then finished; its times are in that order."""
    new = client.pfs.start_commit(branch=master)
    info = client.pfs.inspect_commit(commit=new, wait=pfs.CommitState.READY)
    assert is_open(info)
    assert info.started.timestamp() > 0
    client.pfs.finish_commit(commit=new)
    info = client.pfs.inspect_commit(commit=new, wait=pfs.CommitState.FINISHING)
    assert info.finishing.timestamp() > 0
    info = client.pfs.inspect_commit(commit=new, wait=pfs.CommitState.FINISHED)
    assert info.started <= info.finishing <= info.finished
    assert info.error == ""


def test_answers_leave_the_branch_of_a_commit_empty(client, master, put):
    """A commit in an answer has its repo and id, its branch is empty."""
    new = put(master, {})
    for info in (client.pfs.inspect_commit(commit=new), next(iter(client.pfs.list_commit(repo=master.repo)))):
        assert (info.commit.id, info.commit.repo.name) == (new.id, master.repo.name)
        assert not info.commit.branch.name


def test_a_users_commit_has_the_origin_user(client, master, put):
    """A commit that somebody started has the origin USER and no parent when it is the first."""
    info = client.pfs.inspect_commit(commit=put(master, {}))
    assert info.origin.kind == pfs.OriginKind.USER
    assert not info.parent_commit.id


def test_parents_and_children_are_told(client, master, put):
    """A commit tells its parent and its children."""
    first, second = put(master, {}), put(master, {})
    assert client.pfs.inspect_commit(commit=second).parent_commit.id == first.id
    assert [child.id for child in client.pfs.inspect_commit(commit=first).child_commits] == [second.id]


def test_a_commit_may_start_from_another_parent(client, master, put):
    """StartCommit with a parent goes on from there and still moves the branch's head."""
    first = put(master, {"/a": b"1"})
    put(master, {"/b": b"2"})
    third = client.pfs.start_commit(branch=master, parent=first)
    client.pfs.finish_commit(commit=third)
    assert client.pfs.inspect_commit(commit=third).parent_commit.id == first.id
    assert client.pfs.inspect_branch(branch=master).head.id == third.id
    assert listed(client, third) == ["/a"]


def test_one_open_commit_a_branch(client, master, refused):
    """A commit on top of an open one is refused: `parent commit ... has not been finished`."""
    new = client.pfs.start_commit(branch=master)
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.start_commit(branch=master))
    assert f"parent commit {master.repo.as_uri()}" in text
    assert f"@{new.id} has not been finished" in text
    client.pfs.finish_commit(commit=new)
    client.pfs.finish_commit(commit=client.pfs.start_commit(branch=master))


def test_finishing_twice_is_refused(client, master, put, refused):
    """A commit that is finished cannot be finished again: `has already finished`."""
    new = put(master, {})
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.finish_commit(commit=new))
    assert "has already finished" in text


def test_a_finished_commit_does_not_change(client, master, put, refused):
    """Writing into a finished commit is refused and leaves nothing."""
    new = put(master, {"/a": b"1"})
    text = refused(
        StatusCode.UNKNOWN, lambda: client.pfs.put_file_from_bytes(commit=new, path="/b", data=b"2")
    )
    assert "has already finished" in text
    assert listed(client, new) == ["/a"]


def test_an_open_commit_shows_its_parent_and_its_own_changes(client, master, put):
    """An open commit can be read: what its parent has, with its own changes."""
    put(master, {"/a": b"1", "/b": b"2"})
    new = client.pfs.start_commit(branch=master)
    client.pfs.put_file_from_bytes(commit=new, path="/c", data=b"3")
    client.pfs.delete_file(commit=new, path="/a")
    assert listed(client, new) == ["/b", "/c"]
    assert read(client, new, "/c") == b"3"
    client.pfs.finish_commit(commit=new)


def test_anybody_may_finish_a_commit(connect, master):
    """A commit started by one client is written and finished by another."""
    one, other = connect(), connect()
    new = one.pfs.start_commit(branch=master)
    other.pfs.put_file_from_bytes(commit=commit(master.repo, new.id), path="/a", data=b"1")
    other.pfs.finish_commit(commit=commit(master.repo, new.id))
    assert one.pfs.wait_commit(new).finished.timestamp() > 0
    assert listed(one, new) == ["/a"]


def test_writing_to_a_branch_makes_a_commit_of_its_own(client, master, repo):
    """A write that names only a branch is a commit of its own, started and finished with it."""
    target = pfs.Commit(branch=master, repo=repo)
    client.pfs.put_file_from_bytes(commit=target, path="/a", data=b"1")
    client.pfs.put_file_from_bytes(commit=target, path="/b", data=b"2")
    infos = list(client.pfs.list_commit(repo=repo))
    assert len(infos) == 2
    assert all(info.finishing.timestamp() > 0 for info in infos)
    client.pfs.wait_commit(infos[0].commit)
    assert listed(client, target) == ["/a", "/b"]


def test_writing_to_a_branch_with_an_open_head_goes_into_it(client, master, repo):
    """A write that names only a branch goes into the open commit there."""
    new = client.pfs.start_commit(branch=master)
    client.pfs.put_file_from_bytes(commit=pfs.Commit(branch=master, repo=repo), path="/a", data=b"1")
    assert [info.commit.id for info in client.pfs.list_commit(repo=repo)] == [new.id]
    assert listed(client, new) == ["/a"]
    client.pfs.finish_commit(commit=new)


def test_a_stream_refused_on_a_branch_leaves_no_commit(client, master, repo, refused):
    """A write to a branch that is refused in the middle leaves no commit at all."""
    target = pfs.Commit(branch=master, repo=repo)
    refused(StatusCode.UNKNOWN, lambda: modify(client, target, add("/good", b"1"), add("/b*d", b"2")))
    assert list(client.pfs.list_commit(repo=repo)) == []


def test_a_file_that_is_a_directory_too_fails_the_commit(client, master, put):
    """A path that is a file and a directory ends the commit with the error `file / directory path collision`."""
    bad = put(master, {"/x": b"file", "/x/y": b"below it"})
    info = client.pfs.inspect_commit(commit=bad, wait=pfs.CommitState.FINISHED)
    assert info.error == "file / directory path collision (/x/y)"


def test_children_skip_a_commit_with_an_error(client, master, put):
    """What a commit with an error wrote is not in its children; the parent chain still has it."""
    first = put(master, {"/ok": b"1"})
    bad = put(master, {"/x": b"file", "/x/y": b"below it"})
    after = put(master, {"/new": b"2"})
    assert client.pfs.inspect_commit(commit=after).parent_commit.id == bad.id
    assert listed(client, after) == ["/new", "/ok"]
    assert listed(client, first) == ["/ok"]


@pytest.mark.parametrize(
    ("before", "then"),
    [({"/x": b"1"}, {"/x/y": b"2"}), ({"/x/y/z": b"1"}, {"/x/y": b"2"}), ({"/x/y/z": b"1"}, {"/x": b"2"})],
    ids=["file then below", "directory then file", "deep directory then file"],
)
def test_a_collision_with_what_the_parent_has_is_one_too(client, master, put, before, then):
    """A file where the parent has a directory, or the other way round, is a path collision."""
    put(master, before)
    new = put(master, then)
    assert "path collision" in client.pfs.inspect_commit(commit=new).error


def test_replacing_a_directory_by_a_file_is_no_collision(client, master, put):
    """A directory deleted in the same commit makes room for a file of its name."""
    put(master, {"/x/y": b"1", "/x/z": b"2"})
    new = put(master, {"/x": b"3"}, delete=("/x/",))
    assert client.pfs.inspect_commit(commit=new).error == ""
    assert listed(client, new) == ["/x"]


def test_a_commit_finished_with_an_error_keeps_it(client, master, put):
    """FinishCommit with an error marks the commit failed; its children go on without its changes."""
    put(master, {"/a": b"1"})
    new = client.pfs.start_commit(branch=master)
    client.pfs.put_file_from_bytes(commit=new, path="/b", data=b"2")
    client.pfs.finish_commit(commit=new, error="the source broke off")
    info = client.pfs.inspect_commit(commit=new, wait=pfs.CommitState.FINISHED)
    assert info.error == "the source broke off"
    assert listed(client, put(master, {"/c": b"3"})) == ["/a", "/c"]


def test_a_commit_with_an_error_still_shows_what_it_wrote(client, master, put):
    """A commit that ended in an error can be read: its own changes over those of its parent."""
    put(master, {"/a": b"1"})
    new = client.pfs.start_commit(branch=master)
    client.pfs.put_file_from_bytes(commit=new, path="/b", data=b"2")
    client.pfs.finish_commit(commit=new, error="broken")
    client.pfs.wait_commit(new)
    assert listed(client, new) == ["/a", "/b"]


@pytest.mark.differs("embedded", "the embedded pachd finds the collision all the same")
def test_a_name_that_sorts_between_hides_a_collision(client, master, put):
    """A collision of `/x` and `/x/y` goes unnoticed when `/x-` sorts between them."""
    new = put(master, {"/x": b"1", "/x-": b"2", "/x/y": b"3"})
    assert client.pfs.inspect_commit(commit=new).error == ""


def test_clear_drops_what_was_written(client, master, put):
    """ClearCommit drops what an open commit has written and deleted."""
    put(master, {"/a": b"1"})
    new = client.pfs.start_commit(branch=master)
    client.pfs.put_file_from_bytes(commit=new, path="/b", data=b"2")
    client.pfs.delete_file(commit=new, path="/a")
    client.pfs.clear_commit(commit=new)
    client.pfs.finish_commit(commit=new)
    assert listed(client, new) == ["/a"]


def test_a_finished_commit_cannot_be_cleared(client, master, put, refused):
    """ClearCommit of a finished commit is refused: `cannot clear finished commit`."""
    new = put(master, {"/a": b"1"})
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.clear_commit(commit=new))
    assert "cannot clear finished commit" in text


def test_description_is_given_at_the_start_or_at_the_finish(client, master):
    """A description is given at the start and may be replaced at the finish."""
    first = client.pfs.start_commit(branch=master, description="first")
    client.pfs.finish_commit(commit=first)
    assert client.pfs.inspect_commit(commit=first).description == "first"
    second = client.pfs.start_commit(branch=master, description="second")
    client.pfs.finish_commit(commit=second, description="better")
    assert client.pfs.inspect_commit(commit=second).description == "better"


def test_the_size_of_a_commit_is_of_all_that_it_shows(client, master, put):
    """The size of a finished commit is that of all files that it shows."""
    put(master, {"/a": b"12345", "/b": b"123"})
    new = put(master, {"/a": b"1"})
    info = client.pfs.inspect_commit(commit=new, wait=pfs.CommitState.FINISHED)
    assert info.details.size_bytes == 4


def test_commits_are_listed_newest_first(client, repo, master, put):
    """ListCommit tells the newest first, `reverse` the oldest first, `number` limits."""
    ids = [put(master, {"/n": str(n).encode()}).id for n in range(4)]

    def found(**arguments):
        return [info.commit.id for info in client.pfs.list_commit(repo=repo, **arguments)]

    assert found() == ids[::-1]
    assert found(reverse=True) == ids
    assert found(number=2) == [ids[3], ids[2]]


def test_a_line_of_ancestors_is_listed(client, repo, master, put):
    """ListCommit from `to` back to `from`: `to` is in it, `from` is not."""
    ids = [put(master, {"/n": str(n).encode()}).id for n in range(4)]

    def found(**arguments):
        return [info.commit.id for info in client.pfs.list_commit(repo=repo, **arguments)]

    assert found(to=commit(repo, ids[2])) == ids[2::-1]
    assert found(to=commit(repo, ids[3]), from_=commit(repo, ids[1])) == [ids[3], ids[2]]
    assert found(to=commit(repo, ids[3]), number=1) == [ids[3]]


def test_from_needs_to_and_neither_goes_with_reverse(client, repo, master, put, refused):
    """ListCommit refuses `from` without `to`, and `reverse` with either."""
    new = put(master, {})
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.list_commit(repo=repo, from_=new))
    assert "without `to`" in text
    refused(StatusCode.UNKNOWN, lambda: client.pfs.list_commit(repo=repo, to=new, reverse=True))


def test_commits_are_listed_by_origin(client, repo, master, put):
    """ListCommit tells of one kind of origin, or of all."""
    client.pfs.create_branch(branch=master)
    new = put(master, {})

    def found(**arguments):
        return [info.commit.id for info in client.pfs.list_commit(repo=repo, **arguments)]

    assert len(found()) == 2
    assert found(origin_kind=pfs.OriginKind.USER) == [new.id]
    assert len(found(all=True, origin_kind=pfs.OriginKind.USER)) == 2


def test_find_commits_tells_where_a_file_changed(client, master, put):
    """FindCommits tells the commits that changed a file, newest first, and where the search ended."""
    ids = [
        put(master, {"/a": b"1"}).id,
        put(master, {"/b": b"1"}).id,
        put(master, {"/a": b"2"}).id,
        put(master, {}, delete=("/a",)).id,
    ]
    answers = list(client.pfs.find_commits(start=commit(master.repo, ids[3]), file_path="/a"))
    found = [answer.found_commit.id for answer in answers if answer.found_commit.id]
    assert found == [ids[3], ids[2], ids[0]]
    assert answers[-1].last_searched_commit.id == ids[0]
    assert answers[-1].commits_searched == 4


@pytest.mark.differs(
    "embedded", "the embedded pachd compares contents and leaves out a commit that wrote the same again"
)
def test_find_commits_tells_of_a_file_written_again(client, master, put):
    """FindCommits tells a commit that wrote a file, also when it wrote what was there."""
    first, second = put(master, {"/a": b"1"}), put(master, {"/a": b"1"})
    answers = list(client.pfs.find_commits(start=second, file_path="/a"))
    assert [each.found_commit.id for each in answers if each.found_commit.id] == [second.id, first.id]


def test_find_commits_stops_at_its_limit(client, master, put):
    """FindCommits with a limit ends once it has found so many."""
    ids = [put(master, {"/a": str(n).encode()}).id for n in range(3)]
    answers = list(client.pfs.find_commits(start=commit(master.repo, ids[2]), file_path="/a", limit=2))
    assert [answer.found_commit.id for answer in answers if answer.found_commit.id] == [ids[2], ids[1]]
    assert answers[-1].last_searched_commit.id == ids[1]


def test_find_commits_from_an_open_commit_is_unavailable(client, master, refused):
    """FindCommits from a commit that is not finished is UNAVAILABLE."""
    new = client.pfs.start_commit(branch=master)
    text = refused(StatusCode.UNAVAILABLE, lambda: client.pfs.find_commits(start=new, file_path="/a"))
    assert "not finished" in text
    client.pfs.finish_commit(commit=new)
