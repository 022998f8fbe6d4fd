"""One suite, several back ends: the embedded store, the Kubernetes one against a loopback API server, a real cluster.

The loopback API server speaks the HTTP edge of the real one (paths, content types, Status bodies, chunked watches) and
keeps its resources in an embedded store.
"""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from chandlery.embedded.resources import EmbeddedStore
from chandlery.errors import ChandleryError, ConflictError, InvalidDocumentError, NotFoundError
from chandlery.resources import ResourceStore
from chandlery.resources.document import KINDS
from chandlery.resources.kubernetes import KubernetesStore

TOKEN = "a-token"
CLUSTER_VARIABLE = "CHANDLERY_TEST_KUBECONFIG"


class ApiServer(ThreadingHTTPServer):
    """A loopback API server; `failures` holds the status to fail each next request with; 0 lets one pass."""

    daemon_threads = True

    def __init__(self, store: EmbeddedStore) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = store
        self.failures: list[int] = []
        self.failure_text = "as asked for"
        self.requests: list[tuple[str, str]] = []
        self.break_watch_after = 0  # events sent before a watch is broken off; 0 for never

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news; what matters, the client has seen."""

    def kubeconfig(self, folder: Path) -> Path:
        path = folder / "kubeconfig.yaml"
        host, port = self.server_address[:2]
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "loopback", "cluster": {"server": f"http://{host}:{port}"}}],
            "users": [{"name": "tester", "user": {"token": TOKEN}}],
            "contexts": [{"name": "here", "context": {"cluster": "loopback", "user": "tester"}}],
        }
        path.write_text(yaml.safe_dump(document))
        return path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiServer

    def log_message(self, *args: Any) -> None:
        pass

    def handle_request(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, parts.path))
        failure = self.server.failures.pop(0) if self.server.failures else 0
        if failure:
            return self.fail(failure, self.server.failure_text)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.fail(401, "Unauthorized")
        _, group, version, scope, namespace, plural, *rest = parts.path.strip("/").split("/")
        kind = next(k for k in KINDS if (k.group, k.version, k.plural) == (group, version, plural))
        assert scope == "namespaces"
        store = self.server.store
        document = json.loads(body) if body else {}
        name = rest[0] if rest else ""
        try:
            if self.command == "PATCH":
                assert self.headers["Content-Type"] == "application/apply-patch+yaml"
                assert document["metadata"]["name"] == name
                self.answer(
                    store.apply(document, owner=query["fieldManager"], force=query["force"] == "true")
                )
            elif self.command == "PUT":
                assert rest[1] == "status"
                assert document["metadata"]["resourceVersion"]
                self.answer(store.update_status(document))
            elif self.command == "DELETE":
                self.answer(store.get(kind, name, namespace))
                store.delete(kind, name, namespace)
            elif name:
                self.answer(store.get(kind, name, namespace))
            elif query.get("watch"):
                self.watch(store, kind, namespace, query)
            else:
                items = store.list(kind, namespace, query.get("labelSelector", ""))
                with store._database.reading() as connection:
                    version = connection.execute("SELECT version FROM clock").fetchone()[0]
                for item in items:
                    del item["apiVersion"], item["kind"]
                self.answer({"metadata": {"resourceVersion": str(version)}, "items": items})
        except ChandleryError as error:
            codes = {NotFoundError: 404, ConflictError: 409, InvalidDocumentError: 422}
            self.fail(codes.get(type(error), 500), error.message)

    do_GET = do_PUT = do_PATCH = do_DELETE = handle_request  # noqa: N815

    def watch(self, store: EmbeddedStore, kind: Any, namespace: str, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sent = 0
        events = store.watch(
            kind, namespace, since=query["resourceVersion"], deadline=float(query["timeoutSeconds"])
        )
        try:
            for event in events:
                self.chunk({"type": event.type, "object": event.document})
                sent += 1
                if sent == self.server.break_watch_after:
                    self.close_connection = True
                    return
            self.wfile.write(b"0\r\n\r\n")
        except ConflictError as error:
            self.chunk({"type": "ERROR", "object": {"code": 410, "message": error.message}})
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # the client has gone

    def chunk(self, value: dict[str, Any]) -> None:
        line = json.dumps(value).encode() + b"\n"
        # In two pieces, because a real server splits lines wherever it likes.
        for piece in (line[:7], line[7:]):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()

    def fail(self, code: int, message: str) -> None:
        self.answer({"kind": "Status", "status": "Failure", "code": code, "message": message}, code)

    def answer(self, value: dict[str, Any], code: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def api_server(tmp_path: Path) -> Iterator[ApiServer]:
    behind = EmbeddedStore(tmp_path / "cluster")
    server = ApiServer(behind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    behind.close()


@pytest.fixture(
    params=[
        "embedded",
        "kubernetes",
        pytest.param("cluster", marks=pytest.mark.real(CLUSTER_VARIABLE)),
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path, namespace: str) -> Iterator[ResourceStore]:
    if request.param == "embedded":
        store: ResourceStore = EmbeddedStore(tmp_path / "resources")
    elif request.param == "kubernetes":
        server = request.getfixturevalue("api_server")
        store = KubernetesStore(config_file=str(server.kubeconfig(tmp_path)))
    else:
        store = request.getfixturevalue("cluster_store")
    yield store
    store.close()


@pytest.fixture
def cluster_store(cluster_namespace: None) -> Iterator[ResourceStore]:
    """The store of a real cluster, for tests of it alone."""
    store = KubernetesStore(config_file=os.environ[CLUSTER_VARIABLE])
    yield store
    store.close()


@pytest.fixture
def namespace() -> str:
    return f"contract-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def cluster_namespace(namespace: str) -> Iterator[None]:
    from kubernetes import client, config

    with config.new_client_from_config(config_file=os.environ[CLUSTER_VARIABLE]) as connection:
        core = client.CoreV1Api(connection)
        core.create_namespace({"metadata": {"name": namespace}})
        yield
        core.delete_namespace(namespace)
