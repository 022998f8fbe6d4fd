"""Bytes on the socket of the embedded pachd: through the router that grpc calls, without a socket."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import strategies as st
from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd import open_client
from chandlery.embedded.pachd.faces.server import _Router
from chandlery.embedded.pachd.rpc import operations
from chandlery.embedded.pachd.rpc.calls import Handler
from chandlery.embedded.pachd.rpc.table import load_handlers
from chandlery.embedded.pachd.store.database import version
from chandlery.embedded.pachd.store.store import Store

from .harness import cases


class AbortedError(Exception):
    """How the context ends a call."""


class Context:
    """What the router needs of a call."""

    def abort(self, code: grpc.StatusCode, text: str) -> None:
        self.code, self.text = code, text
        raise AbortedError(text)

    def time_remaining(self) -> float:
        return 0.02

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return []

    def is_active(self) -> bool:
        return True

    def add_callback(self, callback: Any) -> bool:
        return True


class Details:
    invocation_metadata = ()

    def __init__(self, method: str) -> None:
        self.method = method


def _as_message(request: Any) -> Any:
    """Return a request as the client sent it: an operation was read off the wire already."""
    if isinstance(request, operations.SetCommit):
        return pfs.ModifyFileRequest(set_commit=request.commit)
    if isinstance(request, operations.Add):
        added = pfs.AddFile(path=request.path, datum=request.datum, raw=bytes(request.data))
        return pfs.ModifyFileRequest(add_file=added)
    if isinstance(request, operations.Delete):
        return pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path=request.path, datum=request.datum))
    if isinstance(request, operations.Copy):
        copied = pfs.CopyFile(
            dst=request.target, datum=request.datum, src=request.source, append=request.append
        )
        return pfs.ModifyFileRequest(copy_file=copied)
    return request


def recorded_life(folder: Path) -> dict[str, list[bytes]]:
    """Return the serialised requests, by method, of a life that an SDK client leads on a store."""
    seen: dict[str, list[bytes]] = {}
    table = load_handlers()
    before = dict(table)

    def recording(method: str, handler: Handler) -> Handler:
        def note(message: Any) -> Any:
            seen.setdefault(method, []).append(bytes(_as_message(message)))
            return message

        return lambda call, request: handler(
            call, map(note, request) if before[method].stream_in else note(request)
        )

    table.update(
        {method: replace(rpc, handler=recording(method, rpc.handler)) for method, rpc in before.items()}
    )
    try:
        _live(open_client(folder))
    finally:
        table.update(before)
    return seen


def _live(client: Client) -> None:
    repo = pfs.Repo(name="a", type="user", project=pfs.Project(name="default"))
    branch = pfs.Branch(repo=repo, name="master")
    client.pfs.create_repo(repo=repo, description="a repo")
    with client.pfs.commit(branch=branch, description="first") as commit:
        commit.put_file_from_bytes("/d/a", b"x" * 100)
        commit.put_file_from_bytes("/b", b"")
    commit.wait()
    with client.pfs.commit(branch=branch) as second:
        second.delete_file(path="/b")
        second.copy_file(dst="/c", src=pfs.File(commit=pfs.Commit(repo=repo, id=commit.id), path="/d/a"))
    at = pfs.Commit(repo=repo, id=commit.id)
    client.pfs.inspect_repo(repo=repo)
    list(client.pfs.list_repo())
    client.pfs.create_branch(branch=pfs.Branch(repo=repo, name="other"), head=at)
    client.pfs.inspect_branch(branch=branch)
    list(client.pfs.list_branch(repo=repo))
    list(client.pfs.list_commit(repo=repo))
    client.pfs.inspect_commit(commit=at, wait=pfs.CommitState.FINISHED)
    list(client.pfs.list_file(file=pfs.File(commit=at, path="/")))
    list(client.pfs.walk_file(file=pfs.File(commit=at, path="/d")))
    list(client.pfs.glob_file(commit=at, pattern="/**"))
    list(client.pfs.diff_file(new_file=pfs.File(commit=at, path="/"), old_file=pfs.File(commit=at, path="/")))
    list(client.pfs.get_file(file=pfs.File(commit=at, path="/d/a"), offset=3))
    list(client.pfs.get_file_tar(file=pfs.File(commit=at, path="/d/")))
    client.pfs.inspect_file(file=pfs.File(commit=at, path="/d/a"))
    client.pfs.delete_branch(branch=pfs.Branch(repo=repo, name="other"))
    with client.transaction.transaction():
        client.pfs.create_repo(repo=pfs.Repo(name="t", type="user"))


def _read(client: Client) -> bytes:
    file = pfs.File.from_uri("kept@master:/a")
    return b"".join(piece.value for piece in client.pfs.get_file(file=file))


@pytest.fixture
def kept(tmp_path: Path) -> Client:
    client = open_client(tmp_path / "store")
    repo = pfs.Repo(name="kept", type="user", project=pfs.Project(name="default"))
    client.pfs.create_repo(repo=repo)
    with client.pfs.commit(branch=pfs.Branch(repo=repo, name="master")) as commit:
        commit.put_file_from_bytes("/a", b"precious" * 4000)
    return client


def test_any_bytes_to_any_method(kept, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    router = _Router(Store(tmp_path / "store"))
    watcher = sqlite3.connect(tmp_path / "store" / "pachd.sqlite")
    recorded = recorded_life(tmp_path / "other")
    assert len(recorded) >= 18, sorted(recorded)
    methods = sorted({*router._handlers})
    flat = [data for group in recorded.values() for data in group]
    edits = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), st.integers(0, 255)), max_size=3)

    def edited(data: bytes, changes: list[tuple[int, int, int]]) -> bytes:
        out = bytearray(data)
        for where, how, byte in changes:
            at = where % (len(out) + 1)
            if how == 0 and at < len(out):
                out[at] = byte
            elif how == 1:
                out[at:at] = bytes([byte])
            elif how == 2:
                del out[at : at + byte % 5]
            else:
                out[at:at] = out[: byte % 40]
        return bytes(out)

    @cases(
        st.integers(0, len(methods) - 1),
        st.integers(0, 2**16),
        st.booleans(),
        edits,
        st.binary(max_size=30),
    )
    def case(which, pick, own, changes, noise):
        method = methods[which]
        group = recorded.get(method, flat) if own else flat
        data = noise if pick % 10 == 0 else edited(group[pick % len(group)], changes)
        handler = router.service(Details(method))
        context = Context()
        before = version(watcher)
        try:
            request = handler.request_deserializer(data)
            if handler.request_streaming:
                run = handler.stream_stream if handler.response_streaming else handler.stream_unary
                answer = run(iter([request, request]), context)
            else:
                run = handler.unary_stream if handler.response_streaming else handler.unary_unary
                answer = run(request, context)
            for message in answer if handler.response_streaming else [answer]:
                handler.response_serializer(message)
        except AbortedError:
            if not handler.response_streaming and not handler.request_streaming:
                assert version(watcher) == before, (method, data, context.text)
            assert "defect" not in context.text, (method, data, context.text)

    # A case may have deleted it, by a request that is none the worse for being drawn.
    assert not _exists(kept) or _read(kept) == b"precious" * 4000


def _exists(client: Client) -> bool:
    try:
        return any(info.repo.name == "kept" for info in client.pfs.list_repo(type="user"))
    except grpc.RpcError:
        return False
