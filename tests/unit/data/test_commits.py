"""Safe commits: what fails leaves the branch as it was; a dead writer does not block it; a live one is waited for."""

from __future__ import annotations

import json
import threading
import time

import grpc
import pytest
from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs

from chandlery import data
from chandlery.data import lease
from chandlery.data.commits import settled_head
from chandlery.data.references import branch_message, is_finished
from chandlery.errors import ConflictError, DataError, DeadlineError
from chandlery.provenance import Provenance, read_description

RECORD = Provenance(run_id="run-1", task="write")


def put(client: Client, commit: pfs.Commit, path: str, content: bytes) -> None:
    client.pfs.put_file_from_bytes(commit=commit, path=path, data=content)


def head(client: Client, branch: str = "master") -> pfs.CommitInfo:
    return client.pfs.inspect_commit(
        commit=client.pfs.inspect_branch(branch=branch_message("r", branch)).head
    )


def write(client: Client, content: bytes = b"1", timeout: float = 30.0) -> str:
    with data.writing(client, "r", "master", RECORD, timeout=timeout) as work:
        put(client, work.commit, "/f", content)
    return work.commit.id


def fail(client: Client, error: BaseException, *files: tuple[str, bytes], timeout: float = 30.0) -> None:
    """Write files into a commit, then raise."""
    with data.writing(client, "r", "master", RECORD, timeout=timeout) as work:
        for path, content in files:
            put(client, work.commit, path, content)
        raise error


def collide(client: Client) -> None:
    """Write a file and a folder of the same name."""
    with data.writing(client, "r", "master", RECORD) as work:
        put(client, work.commit, "/d", b"a file")
        put(client, work.commit, "/d/e", b"below it")


def dawdle(client: Client) -> None:
    """Take longer than the timeout."""
    with data.writing(client, "r", "master", RECORD, timeout=0.05) as work:
        put(client, work.commit, "/f", b"slow")
        time.sleep(0.1)


def read(client: Client) -> bytes:
    return client.pfs.pfs_file(file=pfs.File(commit=head(client).commit, path="/f")).read()


def open_commit(client: Client, description: str) -> pfs.Commit:
    return client.pfs.start_commit(branch=branch_message("r", "master"), description=description)


def description(**writer: object) -> str:
    values = json.loads(lease.opening(RECORD, "", 3600))
    values["writer"] |= writer
    return json.dumps(values)


def test_a_commit_is_finished_with_its_provenance(client: Client) -> None:
    commit = write(client)
    info = head(client)
    assert info.commit.id == commit
    assert is_finished(info)
    record = read_description(info.description)
    assert (record.run_id, record.task, record.data_repo, record.data_branch) == (
        "run-1",
        "write",
        "r",
        "master",
    )
    assert "writer" not in lease.fields(info.description)


@pytest.mark.parametrize("error", [ValueError("half"), KeyboardInterrupt()], ids=["exception", "interrupt"])
def test_an_exception_never_makes_a_head(client: Client, error: BaseException) -> None:
    first = write(client, b"good")
    with pytest.raises(type(error)):
        fail(client, error, ("/f", b"ba"))
    assert head(client).commit.id == first
    assert read(client) == b"good"
    assert write(client, b"next") == head(client).commit.id


def test_a_failed_first_commit_leaves_no_data(client: Client) -> None:
    with pytest.raises(ValueError):
        fail(client, ValueError(), ("/f", b"ba"))
    files = list(client.pfs.list_file(file=pfs.File(commit=head(client).commit, path="/")))
    assert files == []


def test_a_commit_that_the_server_finds_bad_raises_with_its_text_and_is_gone(client: Client) -> None:
    first = write(client)
    with pytest.raises(DataError, match="collision"):
        collide(client)
    assert head(client).commit.id == first


def test_without_the_right_to_drop_a_failed_commit_is_marked_and_the_head_restored(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    import grpc

    class Refused(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.PERMISSION_DENIED

        def details(self) -> str:
            return "needs REPO_DELETE_COMMIT"

    def refuse(**_: object) -> None:
        raise Refused

    first = write(client, b"good")
    monkeypatch.setattr(client.pfs, "drop_commit", refuse)
    with pytest.raises(ValueError):
        fail(client, ValueError("broken source"), ("/f", b"ba"))
    assert head(client).commit.id == first
    assert read(client) == b"good"
    newest = next(iter(client.pfs.list_commit(repo=pfs.Repo(name="r"))))
    assert newest.commit.id != first
    assert "broken source" in newest.error


@pytest.mark.parametrize(
    "writer",
    [
        {"pid": 2**22 + 1},
        {"born": 1.0, "ticks": 1},
        {"until": time.time() - 3600, "host": "elsewhere"},
    ],
    ids=["dead process", "process id taken by another", "lease over"],
)
def test_an_abandoned_commit_is_dropped_by_the_next_writer(client: Client, writer: dict[str, object]) -> None:
    first = write(client, b"good")
    left = open_commit(client, description(**writer))
    put(client, left, "/f", b"half")
    second = write(client, b"next")
    commits = [info.commit.id for info in client.pfs.list_commit(repo=pfs.Repo(name="r"))]
    assert commits == [second, first]
    assert read(client) == b"next"


def test_the_retry_of_a_step_takes_over_from_its_dead_self_on_another_machine(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(client)
    left = open_commit(client, description(host="gone-pod"))
    monkeypatch.setenv("CHANDLERY_RUN_ID", "run-1")
    monkeypatch.setenv("CHANDLERY_TASK", "other")
    with pytest.raises(ConflictError):
        settled_head(client, "r", "master", time.monotonic())
    monkeypatch.setenv("CHANDLERY_TASK", "write")
    assert settled_head(client, "r", "master", time.monotonic()) is not None
    assert not client.pfs.commit_exists(commit=left)


@pytest.mark.parametrize("text", ["by hand", "", "[1]", '{"writer": {"pid": 0}}'])
def test_a_commit_of_somebody_else_is_never_dropped(client: Client, text: str) -> None:
    write(client)
    theirs = open_commit(client, text)
    with pytest.raises(ConflictError, match="not written by Chandlery"):
        write(client, timeout=0.2)
    assert client.pfs.commit_exists(commit=theirs)


def test_a_live_writer_is_waited_for(client: Client) -> None:
    write(client)
    theirs = open_commit(client, description())  # of this very process
    timer = threading.Timer(0.2, lambda: client.pfs.finish_commit(commit=theirs))
    timer.start()
    ours = write(client, b"later")
    timer.join()
    assert head(client).commit.id == ours
    assert head(client).parent_commit.id == theirs.id


def test_a_writer_past_its_deadline_gives_up(client: Client) -> None:
    first = write(client)
    with pytest.raises(DeadlineError):
        dawdle(client)
    assert head(client).commit.id == first


def test_writers_at_once_take_turns(client: Client) -> None:
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            with data.connect() as own:
                write(own, str(number).encode())
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(list(client.pfs.list_commit(repo=pfs.Repo(name="r")))) == 4


def downstream_of_two(client: Client) -> tuple[pfs.Branch, pfs.Branch]:
    """A second input beside `r@master`, and `out@m` that depends on both; return the input and the output."""
    for name in ("r", "second", "out"):
        if not client.pfs.repo_exists(pfs.Repo(name=name)):
            client.pfs.create_repo(repo=pfs.Repo(name=name))
    first, second, out = (
        branch_message("r", "master"),
        branch_message("second", "m"),
        branch_message("out", "m"),
    )
    for name in (first, second):
        if not client.pfs.branch_exists(name):
            client.pfs.create_branch(branch=name)
    client.pfs.create_branch(branch=out, provenance=[first, second])
    return second, out


def finish_output(client: Client, out: pfs.Branch, content: bytes) -> pfs.Commit:
    commit = client.pfs.inspect_branch(branch=out).head
    put(client, commit, "/result", content)
    client.pfs.finish_commit(commit=commit)
    return commit


@pytest.mark.timeout(60)
def test_recovery_keeps_what_was_finished_downstream(client: Client) -> None:
    """A writer is killed; meanwhile the other input is committed and the output finished: it stays readable."""
    write(client, b"good")
    second, out = downstream_of_two(client)
    finish_output(client, out, b"before")
    left = open_commit(client, description(pid=2**22 + 1))
    with client.pfs.commit(branch=second) as other:
        other.put_file_from_bytes("/x", b"1")
    finished = finish_output(client, out, b"of both")
    commit = write(client, b"next")
    assert read(client) == b"next"
    assert head(client).commit.id == commit
    file = pfs.File(commit=finished, path="/result")
    assert client.pfs.pfs_file(file).read() == b"of both"
    assert client.pfs.inspect_commit(commit=left).error


def test_recovery_still_drops_where_nothing_was_finished_downstream(client: Client) -> None:
    first = write(client, b"good")
    downstream_of_two(client)
    left = open_commit(client, description(pid=2**22 + 1))
    second = write(client, b"next")
    assert left.id not in [info.commit.id for info in client.pfs.list_commit(repo=pfs.Repo(name="r"))]
    assert {first, second} <= {info.commit.id for info in client.pfs.list_commit(repo=pfs.Repo(name="r"))}


def test_a_rollback_of_a_busy_pachd_is_tried_again(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class Rollback(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.UNKNOWN

        def details(self) -> str:
            return "commit unexpectedly resulted in rollback"

    real, failures = type(client.pfs).start_commit, [Rollback(), Rollback()]

    def start_commit(self: object, **given: object) -> object:
        if failures:
            raise failures.pop()
        return real(self, **given)

    monkeypatch.setattr(type(client.pfs), "start_commit", start_commit)
    write(client, b"good")
    assert failures == []
    assert read(client) == b"good"
