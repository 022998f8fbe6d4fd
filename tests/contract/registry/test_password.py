"""The laptop's MLflow with a password: nothing without it, everything with it, for MLflow's own client and for ours."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chandlery import addresses
from chandlery.embedded.mlflow.password import choose
from chandlery.errors import UserError
from chandlery.files import write_json
from chandlery.registry import download
from chandlery.registry.register import register
from tests.contract.registry.conftest import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose home has a password."""
    home = tmp_path_factory.mktemp("guarded") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(addresses.MLFLOW_AUTH_VARIABLE, "basic")
        choose(home)
    server = Server(home)
    server.start()
    write_json(home / "platform" / "endpoints.json", {"mlflow": server.address})
    yield server
    server.kill()


@pytest.fixture
def home(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHANDLERY_HOME", str(guarded.home))
    for name in (*addresses.MLFLOW_CREDENTIALS, "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # so that what signing in sets is undone at the end
        monkeypatch.delenv(name)
    return guarded.home


def test_the_password_is_for_this_user_alone(guarded: Server) -> None:
    path = addresses.password_file(guarded.home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) >= 32


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/2.0/mlflow/experiments/search",
        "/ajax-api/2.0/mlflow/runs/get",
        "/api/2.0/mlflow-artifacts/artifacts/x",
        "/static-files/index.html",
        "//api/2.0/mlflow/x",
        "/health/../api",
    ],
)
def test_nothing_is_told_without_it(guarded: Server, path: str) -> None:
    for auth in (None, ("chandlery", "wrong"), ("other", addresses.mlflow_password(guarded.home)), ("", "")):
        answer = httpx.get(guarded.address + path, auth=auth)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
    assert (
        httpx.put(f"{guarded.address}/api/2.0/mlflow-artifacts/artifacts/x", content=b"x").status_code == 401
    )
    assert httpx.get(f"{guarded.address}/health").status_code == 200


CLIENT = """
import mlflow, sys
mlflow.set_tracking_uri(sys.argv[1])
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 1.0)
    mlflow.log_text("text", "file.txt")
print(mlflow.artifacts.load_text(run.info.artifact_uri + "/file.txt"))
"""


@pytest.mark.parametrize("signed_in", [True, False])
def test_mlflows_own_client(guarded: Server, signed_in: bool) -> None:
    known = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    pair = {
        "MLFLOW_TRACKING_USERNAME": "chandlery",
        "MLFLOW_TRACKING_PASSWORD": addresses.mlflow_password(guarded.home),
    }
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, guarded.address],
        env={**known, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", **(pair if signed_in else {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode == 0) is signed_in, done.stderr
    assert ("text" in done.stdout) is signed_in


def test_our_steps_and_servers_sign_in_by_themselves(home: Path, submit: Any) -> None:
    given = submit()
    register(given)
    assert (download(given.name, "1") / "model.keras").is_file()


def test_the_password_goes_to_no_other_server(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    addresses.require_mlflow()
    assert not os.environ.get("MLFLOW_TRACKING_PASSWORD")


def test_switched_off_and_on_without_a_restart(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"{guarded.address}/api/2.0/mlflow/experiments/search?max_results=1"
    monkeypatch.setenv(addresses.MLFLOW_AUTH_VARIABLE, "off")
    choose(guarded.home)
    assert httpx.get(place).status_code == 200
    monkeypatch.setenv(addresses.MLFLOW_AUTH_VARIABLE, "basic")
    choose(guarded.home)
    assert httpx.get(place).status_code == 401
    assert httpx.get(place, auth=("chandlery", addresses.mlflow_password(guarded.home))).status_code == 200
    kept = addresses.mlflow_password(guarded.home)
    choose(guarded.home)
    assert addresses.mlflow_password(guarded.home) == kept


def test_a_choice_that_there_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(addresses.MLFLOW_AUTH_VARIABLE, "yes")
    with pytest.raises(UserError, match="CHANDLERY_MLFLOW_AUTH=yes"):
        choose(tmp_path)
