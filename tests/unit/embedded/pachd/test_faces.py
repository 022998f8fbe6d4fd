"""The two faces: the client in process, the server behind a socket, and what neither knows."""

from __future__ import annotations

import contextlib
import http.server
import importlib
import pkgutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import pytest
from pachyderm_sdk import Client, api
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd import open_client
from chandlery.embedded.pachd.faces.channel import CallError, ChannelToStore
from chandlery.embedded.pachd.faces.server import start
from chandlery.embedded.pachd.rpc.table import load_handlers
from chandlery.embedded.pachd.store.failure import ServiceError
from chandlery.embedded.pachd.store.store import open_store
from chandlery.errors import PlatformError

SERVE = (
    "import sys; from pathlib import Path; from chandlery.embedded.pachd.faces.server import serve;"
    "serve(Path(sys.argv[1]), sys.argv[2])"
)


def test_both_faces_show_the_same_store(tmp_path):
    inside = open_client(tmp_path / "s")
    server, address = start(tmp_path / "s", "127.0.0.1:0")
    try:
        outside = Client.from_pachd_address(f"grpc://{address}")
        outside.pfs.create_repo(repo=pfs.Repo(name="raw"))
        with outside.pfs.commit(branch=pfs.Branch.from_uri("raw@master")) as commit:
            commit.put_file_from_bytes("/a", b"1")
        file = pfs.File(commit=commit, path="/a")
        assert inside.pfs.inspect_file(file=file).to_dict() == outside.pfs.inspect_file(file=file).to_dict()
        for each in ("list_commit", "list_branch"):
            answers = [
                [a.to_dict() for a in getattr(c.pfs, each)(repo=commit.repo)] for c in (inside, outside)
            ]
            assert answers[0] == answers[1]
    finally:
        server.stop(None).wait()


class Recorder:
    """A channel that notes which RPCs the SDK's stubs ask it for: kind and full name."""

    def __init__(self) -> None:
        self.rpcs: dict[str, str] = {}

    def __getattr__(self, kind: str):
        return lambda method, **_: self.rpcs.setdefault(method, kind)


def rpcs_of_the_sdk() -> dict[str, str]:
    recorder = Recorder()
    for info in pkgutil.iter_modules(api.__path__, f"{api.__name__}."):
        module = importlib.import_module(info.name)
        for name, stub in vars(module).items():
            if name.endswith("Stub"):
                stub(recorder)
    return recorder.rpcs


RPCS = rpcs_of_the_sdk()


def outcome(call, method: str, kind: str, request) -> tuple[grpc.StatusCode | None, str]:
    """Call an RPC with an empty request; return code and text of the refusal, or (None, "")."""
    try:
        if kind.startswith("stream"):
            request = iter([request])
        answer = call(request, timeout=1.0)
        if kind.endswith("stream"):
            for _ in answer:
                pass
    except grpc.RpcError as error:
        return error.code(), error.details()
    return None, ""


def test_the_sdk_has_stubs_for_all_of_pachd() -> None:
    assert len(RPCS) > 150
    assert load_handlers().keys() <= RPCS.keys()


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    server, address = start(folder / "outside", "127.0.0.1:0")
    channel = grpc.insecure_channel(address)
    yield ChannelToStore(open_store(folder / "inside")), channel
    channel.close()
    server.stop(None).wait()


@pytest.mark.parametrize("method", sorted(RPCS))
def test_every_rpc_of_the_sdk_is_answered_or_refused_by_name(faces, method: str) -> None:
    inside, outside = faces
    kind, handler = RPCS[method], load_handlers().get(method)
    try:
        empty = handler.parse(b"") if handler else object()
    except ServiceError:
        empty = pfs.ModifyFileRequest()  # the wire refuses an empty one before a handler sees it
    in_process = outcome(getattr(inside, kind)(method), method, kind, empty)
    on_socket = outcome(getattr(outside, kind)(method), method, kind, b"")
    assert in_process == on_socket
    code, text = in_process
    if handler is None:
        assert code is grpc.StatusCode.UNIMPLEMENTED
        assert method.rpartition("/")[2] in text
    elif text != "the auth service is not activated":  # a pachd without auth says so with UNIMPLEMENTED
        assert code not in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL), text


def test_the_token_and_the_transaction_may_change(tmp_path):
    client = open_client(tmp_path)
    client.auth_token = "another"
    client.pfs.create_repo(repo=pfs.Repo(name="raw"))
    client.transaction_id = ""
    assert client.pfs.repo_exists(pfs.Repo(name="raw"))


def test_an_interceptor_put_around_the_channel_stays(tmp_path):
    client = open_client(tmp_path)
    seen = []

    class Spy(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):
            seen.append(details.method)
            return continuation(details, request)

    client._channel = grpc.intercept_channel(client._channel, Spy())
    client._init_api()
    client.get_version()
    assert seen == ["/versionpb_v2.API/GetVersion"]


def test_a_login_token_in_the_environment_does_not_matter(tmp_path, monkeypatch):
    monkeypatch.setenv("PACH_PYTHON_OIDC_TOKEN", "x")
    assert open_client(tmp_path).get_version().major == 2


def test_auth_is_off_as_on_a_local_pachd(tmp_path):
    from pachyderm_sdk.errors import AuthServiceNotActivated

    with pytest.raises(AuthServiceNotActivated):
        open_client(tmp_path).auth.who_am_i()


def test_a_defect_is_told_as_internal(tmp_path, monkeypatch):
    monkeypatch.setattr("chandlery.embedded.pachd.rpc.repos.messages.repo_info", lambda *_, **__: 1 / 0)
    client = open_client(tmp_path)
    client.pfs.create_repo(repo=pfs.Repo(name="raw"))
    with pytest.raises(CallError) as caught:
        client.pfs.inspect_repo(repo=pfs.Repo(name="raw"))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_port_in_use_is_told(tmp_path):
    server, address = start(tmp_path / "a", "127.0.0.1:0")
    try:
        with pytest.raises(PlatformError, match="cannot listen on"):
            start(tmp_path / "b", address)
    finally:
        server.stop(None).wait()


def test_a_client_that_vanishes_in_the_middle_of_a_stream_leaves_nothing(tmp_path):
    server, address = start(tmp_path / "s", "127.0.0.1:0")
    inside, outside = open_client(tmp_path / "s"), Client.from_pachd_address(f"grpc://{address}")
    inside.pfs.create_repo(repo=pfs.Repo(name="raw"))
    commit = inside.pfs.start_commit(branch=pfs.Branch.from_uri("raw@master"))
    sent, go_on = threading.Event(), threading.Event()

    def stream():
        yield pfs.ModifyFileRequest(set_commit=commit)
        yield pfs.ModifyFileRequest(add_file=pfs.AddFile(path="/lost", raw=b"x" * 3_000_000))
        yield pfs.ModifyFileRequest(add_file=pfs.AddFile(path="/lost2", raw=b"x" * 3_000_000))
        sent.set()
        go_on.wait(20)

    def write():
        with contextlib.suppress(Exception):
            outside.pfs.modify_file(stream())

    thread = threading.Thread(target=write)
    thread.start()
    assert sent.wait(20)
    outside._channel.close()
    go_on.set()
    thread.join(20)
    server.stop(5).wait()
    inside.pfs.finish_commit(commit=commit)
    assert list(inside.pfs.list_file(file=pfs.File(commit=commit, path="/"))) == []


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/page" else 404)
        self.end_headers()
        self.wfile.write(b"fetched" * 1000)

    def log_message(self, *_):
        pass


def test_a_file_is_fetched_from_a_url(tmp_path):
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=web.serve_forever, args=(0.05,))
    thread.start()
    client = open_client(tmp_path)
    client.pfs.create_repo(repo=pfs.Repo(name="raw"))
    commit = client.pfs.start_commit(branch=pfs.Branch.from_uri("raw@master"))
    try:
        url = f"http://127.0.0.1:{web.server_port}"
        client.pfs.put_file_from_url(commit=commit, path="/a", url=f"{url}/page")
        assert client.pfs.pfs_file(pfs.File(commit=commit, path="/a")).read() == b"fetched" * 1000
        for bad, code in {
            f"{url}/missing": grpc.StatusCode.UNKNOWN,
            "s3://bucket/key": grpc.StatusCode.UNIMPLEMENTED,
        }.items():
            with pytest.raises(grpc.RpcError) as caught:
                client.pfs.put_file_from_url(commit=commit, path="/b", url=bad)
            assert caught.value.code() is code
        assert not client.pfs.path_exists(pfs.File(commit=commit, path="/b"))
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


@pytest.mark.slow
def test_serve_on_a_unix_socket_until_sigterm(tmp_path):
    socket = Path("/tmp") / f"chandlery-{tmp_path.name}.sock"  # a socket's path may have about 100 characters
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path / "s"), f"unix://{socket}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert str(socket) in process.stdout.readline()
        client = Client(host="unix", port=str(socket))
        client.pfs.create_repo(repo=pfs.Repo(name="raw"))
        assert open_client(tmp_path / "s").pfs.repo_exists(pfs.Repo(name="raw"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
