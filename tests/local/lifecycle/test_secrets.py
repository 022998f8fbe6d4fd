"""Secrets planted in addresses, environment and request headers: a whole life of a model writes none of them down."""

from __future__ import annotations

import gzip
import json
import re
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from chandlery import addresses
from tests.local.lifecycle.conftest import RECIPE, ROOT, Laptop, release

pytestmark = pytest.mark.slow

PASSWORD, SIGNATURE, TOKEN, SAS = "pl4ntedPassword", "pl4ntedSignature", "pl4ntedToken", "pl4ntedSas"
VARIABLES = {
    "CHANDLERY_FEEDBACK_TOKEN": "pl4ntedFeedbackToken",
    "AWS_SECRET_ACCESS_KEY": "pl4ntedSecretKey",
    "AWS_SESSION_TOKEN": "pl4ntedSession",
    "PACH_PYTHON_AUTH_TOKEN": "pl4ntedPachyderm",
    "MY_OWN_SECRET": "pl4ntedOwn",
}
HEADERS = {
    "Cookie": "session=pl4ntedCookie",
    "X-Api-Key": "pl4ntedApiKey",
    "Proxy-Authorization": "Basic pl4ntedProxy",
    "X-Forwarded-Access-Token": "pl4ntedForwarded",
}


@dataclass(frozen=True)
class Planted(Laptop):
    """A laptop whose environment holds secrets, and whose MLflow has a password."""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **VARIABLES, "CHANDLERY_MLFLOW_AUTH": "basic", "NO_PROXY": "127.0.0.1"}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    found = Planted(tmp_path_factory.mktemp("planted") / "home")
    yield found
    assert found.call("down", timeout=120).returncode == 0


@pytest.fixture(scope="module")
def source(folders: dict[str, Path]) -> Iterator[str]:
    """The address of the data, on a server that wants a password and a signature."""
    (data,) = folders["history-1"].glob("*.csv")

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            known = SIGNATURE in self.path and self.headers.get("authorization", "").startswith("Basic ")
            body = data.read_bytes() if known else b"who are you?"
            self.send_response(200 if known else 403)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    query = f"X-Amz-Signature={SIGNATURE}&X-Goog-Signature={SIGNATURE}&sig={SAS}&token={TOKEN}"
    yield f"http://me:{PASSWORD}@127.0.0.1:{server.server_port}/part.csv?{query}"
    server.shutdown()


def test_a_whole_life_writes_no_secret_down(planted: Planted, source: str) -> None:
    printed = []
    done = planted.call("run", "commit_dataset", "-p", f"source={source}", "-p", "repo=digits")
    assert done.returncode == 0, done.stdout + done.stderr
    printed.append(done.stdout + done.stderr)
    trained = planted.call(*release(RECIPE, traffic_repo="", replay_rate="0"))
    assert trained.returncode == 0, trained.stdout + trained.stderr + planted.log()
    printed.append(trained.stdout + trained.stderr)
    ask(trained.stdout)
    for words in (
        ["lineage", "digits:1"],
        ["status"],
        ["status", "--json"],
        ["logs", "last"],
        ["logs", "mlflow"],
        ["doctor"],
    ):
        done = planted.call(*words)
        printed.append(done.stdout + done.stderr)
    password = addresses.mlflow_password(planted.home)
    assert len(password) > 20
    secrets = [PASSWORD, SIGNATURE, TOKEN, SAS, *VARIABLES.values(), password]
    secrets += [text[text.index("pl4nted") :] for text in HEADERS.values()]
    (planted.home / "planted").write_bytes(gzip.compress(TOKEN.encode()))
    assert list(leaks(planted.home, secrets, password)) == [
        f"planted: {TOKEN}"
    ]  # the search finds what is there
    (planted.home / "planted").unlink()
    found = list(leaks(planted.home, secrets, password))
    assert not found
    compiled = [path.read_text() for path in (ROOT / "pipelines").rglob("*.yaml")]
    for secret in secrets:
        assert not any(secret in text for text in [*printed, *compiled])


def ask(printed: str) -> None:
    """Predict and send feedback as a client with secrets in its headers does."""
    curl = next(line for line in printed.splitlines() if line.startswith("curl "))
    address = re.search(r"http://\S+", curl)
    body = re.search(r"-d '(.*)'", curl)
    assert address is not None
    assert body is not None
    headers = {**HEADERS, "Authorization": f"Bearer {VARIABLES['CHANDLERY_FEEDBACK_TOKEN']}"}
    answer = httpx.post(address[0], json=json.loads(body[1]), headers=headers)
    assert answer.status_code == 200, answer.text
    puid = answer.json()["meta"]["puid"]
    place = address[0].replace("predictions", "feedback")
    message = {"response": {"meta": {"puid": puid}}, "truth": {"data": {"ndarray": [[1]]}}, "reward": 1.0}
    told = httpx.post(place, json=message, headers=headers)
    assert told.status_code == 200, told.text


def leaks(home: Path, secrets: list[str], password: str) -> Iterator[str]:
    """Each file of a home that holds a secret, as it is or compressed."""
    for path in sorted(home.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        content = path.read_bytes()
        if path == addresses.password_file(home):
            assert content.strip() == password.encode()
            continue
        texts = [content]
        for unpack in (gzip.decompress, zlib.decompress):
            try:
                texts.append(unpack(content))
            except (OSError, EOFError, zlib.error):
                continue
        for secret in secrets:
            if any(secret.encode() in text for text in texts):
                yield f"{path.relative_to(home)}: {secret}"
