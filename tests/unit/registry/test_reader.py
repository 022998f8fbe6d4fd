"""Reading from MLflow at its HTTP edge: retries, paging, refusals, credentials."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chandlery.errors import RegistryError
from chandlery.registry import client
from chandlery.registry.reader import RegistryReader
from chandlery.registry.versions import aliased, find

Answer = tuple[int, Any]
Script = Callable[[list[Answer]], list[Any]]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Start a server that gives the listed answers in turn, the last for ever; returns the list of requests seen."""
    servers: list[ThreadingHTTPServer] = []

    def start(answers: list[Answer]) -> list[Any]:
        seen: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                status, body = answers[min(len(seen), len(answers)) - 1]
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(client, "PAUSE_SECONDS", 0.01)
        return seen

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


FOUND = (200, {"model_version": {"version": "3"}})
BUSY = (503, "busy")
NO_MODEL = (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such model"})
NO_ALIAS = (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Registered model alias x not found."})


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([FOUND], "3"),
        ([BUSY, (500, "locked"), (429, ""), FOUND], "3"),
        ([NO_MODEL], ""),
        ([NO_ALIAS], ""),
    ],
)
def test_alias(script: Script, answers: list[Answer], expected: str) -> None:
    seen = script(answers)
    assert aliased("digits", "champion") == expected
    assert len(seen) == len(answers)


@pytest.mark.parametrize(
    "answer",
    [
        (401, "who are you?"),
        (403, {"error_code": "PERMISSION_DENIED", "message": "not you"}),
        (404, "<html>no MLflow here</html>"),
        (400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "bad filter"}),
    ],
)
def test_a_refusal_is_not_repeated(script: Script, answer: Answer) -> None:
    seen = script([answer])
    with pytest.raises(RegistryError, match=str(answer[0])) as caught:
        aliased("digits", "champion")
    assert len(seen) == 1
    assert "127.0.0.1" in caught.value.message


def test_a_server_that_stays_busy_is_given_up(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    script([BUSY])
    monkeypatch.setattr(client, "DEADLINE_SECONDS", 0.1)
    with pytest.raises(RegistryError, match="503"):
        aliased("digits", "champion")


def test_all_pages_are_read(script: Script) -> None:
    done = {"tags": [{"key": "chandlery.state", "value": "complete"}], "name": "digits"}
    seen = script(
        [
            (200, {"model_versions": [done | {"version": "2"}], "next_page_token": "more"}),
            (200, {"model_versions": [done | {"version": "1"}, {"name": "digits", "version": "3"}]}),
        ]
    )
    assert [info.version for info in find({"owner": "it's us"})] == ["1", "2"]
    assert "page_token=more" in seen[1][0]
    assert "%22it%27s+us%22" in seen[0][0]


def test_credentials_come_from_mlflows_own_variables(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = script([FOUND])
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    monkeypatch.setenv("MLFLOW_WORKSPACE", "team")
    aliased("digits", "champion")
    assert seen[0][1]["authorization"] == "Bearer secret"
    assert seen[0][1]["x-mlflow-workspace"] == "team"
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "mine")
    aliased("digits", "champion")
    assert seen[1][1]["authorization"].startswith("Basic ")


def test_a_missing_artifact_is_refused(script: Script) -> None:
    script([(404, "no such file")])
    with (
        RegistryReader() as reader,
        pytest.raises(RegistryError, match=r"model\.keras"),
        reader.open_artifact("model.keras"),
    ):
        pass
