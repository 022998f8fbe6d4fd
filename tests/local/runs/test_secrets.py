"""Secrets planted in a source's address and in the environment: none is written down, and the run still continues."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMAND = "import sys; from chandlery.cli.main import main; sys.argv[0] = 'chandlery'; sys.exit(main())"
PASSWORD, SIGNATURE, HIDDEN = "pl4ntedPassword", "pl4ntedSignature", "pl4ntedVariable"


@pytest.mark.slow
def test_no_planted_secret_is_written_down(tmp_path: Path) -> None:
    failing = [True]
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            seen.append(f"{self.path} {self.headers.get('authorization', '')}")
            body = b"a,b\n1,2\n"
            self.send_response(500 if failing[0] else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = tmp_path / "home"
    names = (
        "CHANDLERY_FEEDBACK_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "MLFLOW_TRACKING_PASSWORD",
    )
    environment = {
        **os.environ,
        **dict.fromkeys(names, HIDDEN),
        "CHANDLERY_HOME": str(home),
        "NO_PROXY": "127.0.0.1",
    }
    place = f"127.0.0.1:{server.server_port}/rows.csv"
    source = f"http://me:{PASSWORD}@{place}?X-Amz-Signature={SIGNATURE}&X-Amz-Date=1"

    def run() -> subprocess.CompletedProcess[str]:
        words = ["run", "commit_dataset", "-p", f"source={source}", "-p", "repo=rows"]
        return subprocess.run(
            [sys.executable, "-c", COMMAND, *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    try:
        failed = run()
        assert failed.returncode == 1, failed.stdout + failed.stderr
        failing[0] = False
        done = run()
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        server.shutdown()
    assert any(SIGNATURE in line and "Basic" in line for line in seen)  # the secrets were used
    assert len(list((home / "runs").glob("*/run.json"))) == 1  # the second command continued the first
    written = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    log = next(text for path, text in written.items() if path.name == "log.txt")
    assert place.encode() in log
    for secret in (PASSWORD, SIGNATURE, HIDDEN):
        found = [str(path) for path, text in written.items() if secret.encode() in text]
        assert not found
        assert secret not in failed.stdout + failed.stderr + done.stdout + done.stderr
