"""References: every form leads to one finished commit; a wrong one says what exists."""

from __future__ import annotations

import json
import threading

import pytest
from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs

from chandlery import data
from chandlery.data import lease
from chandlery.data.references import branch_message, repo_message
from chandlery.errors import (
    ChandleryError,
    DataError,
    DeadlineError,
    NotFoundError,
    PlatformError,
    UserError,
)
from chandlery.provenance import Provenance


@pytest.fixture
def commits(client: Client) -> list[str]:
    made = []
    for number in range(3):
        with data.writing(client, "digits", "master", Provenance()) as work:
            client.pfs.put_file_from_bytes(commit=work.commit, path="/f", data=str(number).encode())
        made.append(work.commit.id)
    return made


@pytest.mark.parametrize(
    ("ref", "index", "branch"),
    [
        ("master", 2, "master"),
        ("master^", 1, "master"),
        ("master~2", 0, "master"),
        ("master^2", 0, "master"),
        ("master.1", 0, "master"),
        ("{2}", 2, ""),
        ("{2}^", 1, ""),
    ],
)
def test_every_form_is_pinned(client: Client, commits: list[str], ref: str, index: int, branch: str) -> None:
    pinned = data.resolve(client, "digits", ref.format(*commits))
    assert pinned == data.Pinned("digits", branch, commits[index])


@pytest.mark.parametrize(
    ("repo", "ref", "kind", "message", "hint"),
    [
        ("digit", "master", NotFoundError, "no repo 'digit'", "repos there: digits"),
        ("digits", "main", NotFoundError, "no branch 'main'", "branches there: master"),
        ("digits", "0" * 12 + "4" + "0" * 19, NotFoundError, "no commit", "newest commits"),
        ("digits", "master^7", NotFoundError, "no commit 'master^7'", "newest commits"),
        ("dig.its", "master", UserError, "dig.its", "letters"),
        ("digits", "", UserError, "not valid", "branch"),
        ("digits", "master:/x", UserError, "not valid", "branch"),
    ],
)
def test_a_wrong_reference_names_what_exists(
    client: Client,
    commits: list[str],
    repo: str,
    ref: str,
    kind: type[ChandleryError],
    message: str,
    hint: str,
) -> None:
    with pytest.raises(kind) as caught:
        data.resolve(client, repo, ref)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert len(str(caught.value).splitlines()) == 2


def start(client: Client, description: str) -> pfs.Commit:
    return client.pfs.start_commit(branch=branch_message("digits", "master"), description=description)


def test_an_open_commit_is_waited_for(client: Client, commits: list[str]) -> None:
    theirs = start(client, "by hand")
    with pytest.raises(DeadlineError, match="still being written"):
        data.resolve(client, "digits", "master", timeout=0.1)
    timer = threading.Timer(0.1, lambda: client.pfs.finish_commit(commit=theirs))
    timer.start()
    assert data.resolve(client, "digits", "master", timeout=10).commit == theirs.id
    timer.join()


def test_a_commit_with_an_error_is_not_read(client: Client, commits: list[str]) -> None:
    client.pfs.finish_commit(commit=start(client, ""), error="the disk fell off")
    with pytest.raises(DataError, match="the disk fell off"):
        data.resolve(client, "digits", "master")
    assert data.resolve(client, "digits", "master^").commit == commits[-1]


def test_what_a_dead_writer_left_is_passed_over(client: Client, commits: list[str]) -> None:
    values = json.loads(lease.opening(Provenance(), "", 3600))
    values["writer"] |= {"born": 1.0, "ticks": 1}
    start(client, json.dumps(values))
    assert data.resolve(client, "digits", "master", timeout=1).commit == commits[-1]


def test_an_unreachable_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANDLERY_DATA", "grpc://127.0.0.1:1")
    with pytest.raises(PlatformError) as caught, data.connect() as client:
        data.resolve(client, "digits", "master")
    assert "grpc://127.0.0.1:1" in caught.value.message
    assert "CHANDLERY_DATA" in caught.value.hint


def test_projects() -> None:
    assert repo_message("digits").project.name == "default"
    assert repo_message("team/digits").project.name == "team"
    for name in ("", "a/b/c", "a b", "/x"):
        if name == "/x":
            assert repo_message(name).name == "x"
            continue
        with pytest.raises(UserError):
            repo_message(name)
    with pytest.raises(UserError):
        branch_message("r", "0" * 12 + "4" + "0" * 19)
