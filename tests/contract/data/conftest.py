"""One suite for every back end: the embedded store, the same behind a socket, and a real pachd when one is named.

Tests speak the SDK's public API only, and every test uses repos of its own, since a real pachd is shared.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs

PACHD = "CHANDLERY_TEST_PACHD"
REAL = "pachd"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store that all tests share, as they share a real pachd."""
    return tmp_path_factory.mktemp("contract") / "store"


@pytest.fixture(scope="session")
def address(store: Path) -> Iterator[str]:
    """Where the store is served on a socket."""
    from chandlery.embedded.pachd.faces.server import start

    server, address = start(store, "127.0.0.1:0")
    yield f"grpc://{address}"
    server.stop(None).wait()


@pytest.fixture(params=["embedded", "socket", pytest.param(REAL, marks=pytest.mark.real(PACHD))])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[[], Client]]:
    """Open one more client on the back end under test; all are closed with the test."""
    opened = []

    def open_() -> Client:
        if request.param == "embedded":
            from chandlery.embedded.pachd import open_client

            opened.append(open_client(request.getfixturevalue("store")))
        else:
            real = request.param == REAL
            found = os.environ[PACHD] if real else request.getfixturevalue("address")
            opened.append(Client.from_pachd_address(found))
        return opened[-1]

    yield open_
    for client in opened:
        client._channel.close()


@pytest.fixture
def client(connect: Callable[[], Client]) -> Client:
    """A client on the back end under test."""
    return connect()


@pytest.fixture
def new_repo(client: Client) -> Iterator[Callable[[], Any]]:
    """Make a repo that no other test uses; deleted afterwards."""
    made = []

    def make() -> Any:
        repo = pfs.Repo(name=f"contract-{uuid.uuid4().hex[:12]}")
        client.pfs.create_repo(repo=repo)
        made.append(repo)
        return repo

    yield make
    for repo in reversed(made):
        client.pfs.delete_repo(repo=repo, force=True)


@pytest.fixture
def repo(new_repo: Callable[[], Any]) -> Any:
    """A repo."""
    return new_repo()


@pytest.fixture
def master(repo: Any) -> Any:
    """The branch `master`, not made yet, of the repo."""
    return pfs.Branch(name="master", repo=repo)


@pytest.fixture
def put(client: Client) -> Callable[..., Any]:
    """Make one finished commit on a branch: `put(branch, {path: content}, delete=[path])`."""

    def make(branch: Any, files: dict[str, bytes], delete: tuple[str, ...] = (), append: bool = False) -> Any:
        with client.pfs.commit(branch=branch) as commit:
            for path in delete:
                commit.delete_file(path=path)
            for path, content in files.items():
                commit.put_file_from_bytes(path, content, append=append)
        commit.wait()
        return pfs.Commit(id=commit.id, repo=commit.repo)

    return make


@pytest.fixture
def refused() -> Callable[..., str]:
    """Assert that a call is refused with a code, and return the text: `refused(code, lambda: ...)`."""

    def check(code: grpc.StatusCode, action: Callable[[], Any]) -> str:
        def run() -> None:
            result = action()
            if hasattr(result, "__next__"):
                list(result)  # a stream is refused when it is read

        with pytest.raises(grpc.RpcError) as caught:
            run()
        assert caught.value.code() is code, caught.value.details()
        return str(caught.value.details())

    return check
