"""Protects: `chandlery client` prints code with the deployment's own example row, or says what is wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chandlery.cli.client import client
from chandlery.errors import NotFoundError, ServingError, UserError

ROW = {"airport": "HAM", "hour": 7}
EXAMPLES = {"records": {"value": {"dataframe_records": [ROW]}}}


def described(content: object) -> bytes:
    body = {"requestBody": {"content": {"application/json": content}}}
    return json.dumps({"paths": {"/invocations": {"post": body}}}).encode()


ANSWERS = {
    "/seldon/default/delays/openapi.json": (200, described({"examples": EXAMPLES})),
    "/seldon/default/large/openapi.json": (200, described({})),
    "/seldon/default/broken/openapi.json": (200, b"<html>"),
    "/seldon/default/down/openapi.json": (503, b"no healthy upstream"),
}


class Gateway(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS.get(self.path, (404, b""))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("CHANDLERY_GATEWAY", url)
    yield url
    server.shutdown()
    server.server_close()


def test_all_languages_or_one(gateway: str, capsys: pytest.CaptureFixture[str]) -> None:
    client("delays", "")
    everything = capsys.readouterr().out
    assert everything.count(f"{gateway}/seldon/default/delays/invocations") == 3
    for language, word in (("python", "urllib"), ("curl", "curl -sS"), ("typescript", "await fetch")):
        client("delays", language)
        code = capsys.readouterr().out
        assert word in code
        assert "HAM" in code
        assert code.strip() in everything


@pytest.mark.parametrize(
    ("deployment", "language", "error", "says"),
    [
        ("delays", "cobol", UserError, "valid: python, curl, typescript"),
        ("other", "", NotFoundError, "no deployment 'other'"),
        ("large", "", ServingError, "no example row"),
        ("broken", "", ServingError, "without a description"),
        ("down", "", ServingError, "answered 503"),
    ],
)
def test_what_is_wrong_is_said(deployment: str, language: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        client(deployment, language)
    assert says in str(caught.value)
