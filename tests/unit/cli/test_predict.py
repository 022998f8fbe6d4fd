"""`chandlery predict` asks for the model that a deployment serves, whatever the deployment is called."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chandlery.cli.predict import predict
from chandlery.deployments.spec import ServingSpec, Variant, to_seldon
from chandlery.embedded.resources import EmbeddedStore
from chandlery.errors import NotFoundError, UserError


class Gateway(BaseHTTPRequestHandler):
    """Knows the deployment `releases` with the model `digits`, as the inference server would answer for it."""

    paths: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.paths.append(self.path)
        known = self.path in (
            "/seldon/default/releases/v2/models/digits/infer",
            "/seldon/default/releases/api/v1.0/predictions",
        )
        body = json.dumps({"outputs": []} if known else {"error": "no such model"}).encode()
        self.send_response(200 if known else 404)
        if self.path.startswith("/seldon/default/releases/"):
            self.send_header("x-seldon-route", "v3")
        self.send_header("x-model-version", "3")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Gateway]]:
    handler = type("Handler", (Gateway,), {"paths": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    monkeypatch.setenv("CHANDLERY_GATEWAY", f"http://127.0.0.1:{server.server_port}")
    store = EmbeddedStore(tmp_path / "resources")
    spec = ServingSpec(
        name="releases",
        namespace="default",
        model_name="digits",
        variants=(Variant("3", "models:/digits/3", 100),),
    )
    store.apply(to_seldon(spec))
    store.close()
    yield handler
    server.shutdown()
    server.server_close()


def request(tmp_path: Path, body: dict[str, object]) -> Path:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(body))
    return path


@pytest.mark.parametrize("body", [{"inputs": []}, {"data": {"ndarray": [[1]]}}, {"jsonData": {"x": [1]}}])
def test_both_protocols_reach_a_deployment_not_named_as_its_model(
    gateway: type[Gateway],
    tmp_path: Path,
    body: dict[str, object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    predict("releases", request(tmp_path, body), "", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["route"], found["model_version"]) == ("v3", "3")


@pytest.mark.parametrize("body", [{"inputs": []}, {"data": {"ndarray": [[1]]}}])
def test_an_unknown_deployment_is_named(
    gateway: type[Gateway], tmp_path: Path, body: dict[str, object]
) -> None:
    with pytest.raises(NotFoundError, match="no deployment 'other'"):
        predict("other", request(tmp_path, body), "", as_json=True)


def test_a_file_that_is_not_a_request_is_refused(gateway: type[Gateway], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a request"):
        predict("releases", request(tmp_path, {"rows": []}), "", as_json=True)
    assert gateway.paths == []
