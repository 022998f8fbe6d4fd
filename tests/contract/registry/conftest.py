"""An MLflow server on loopback as the platform starts it, or a real one elsewhere, and model packages to register with it."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import pytest

from chandlery import provenance
from chandlery.embedded.mlflow.server import start_server_command
from chandlery.registry.submission import About, Submission, submission
from tests.line import write_package

ADDRESS_VARIABLE = "CHANDLERY_TEST_MLFLOW"  # a real server elsewhere to run this suite against
COMMIT = "0123456789abcdef" * 2


class Server:
    """One MLflow server of a test."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, timeout: float = 240.0) -> None:
        command, environment = start_server_command(self.home, self.port)
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait(timeout)
        except BaseException:
            self.kill()
            raise

    def _wait(self, timeout: float) -> None:
        log = self.home / "server.log"
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, log.read_text()
            try:
                if httpx.get(f"{self.address}/health", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError("MLflow did not start: " + log.read_text())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(
    scope="session", params=["embedded", pytest.param("real", marks=pytest.mark.real(ADDRESS_VARIABLE))]
)
def session_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server | str]:
    """The server that most tests share, or the address of the real one."""
    if request.param == "real":
        yield os.environ[ADDRESS_VARIABLE]
        return
    server = Server(tmp_path_factory.mktemp("mlflow-home"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def mlflow(session_server: Server | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The shared server, configured as the endpoint of this test's own home."""
    address = session_server if isinstance(session_server, str) else session_server.address
    configure(monkeypatch, tmp_path, address)
    return address


@pytest.fixture
def store(session_server: Server | str, mlflow: str) -> Path:
    """Folder in which the shared server keeps artifacts."""
    if isinstance(session_server, str):
        pytest.skip("the artifacts of a real server are not ours to damage")
    return session_server.home / "mlflow" / "artifacts"


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of a module may kill and start again; each finds it running."""
    server = Server(tmp_path_factory.mktemp("fragile"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def point_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make an address the MLflow endpoint of this test's own home."""
    return lambda address: configure(monkeypatch, tmp_path, address)


@pytest.fixture
def free() -> Callable[[], int]:
    """Find a port on which nobody listens."""
    return free_port


def configure(monkeypatch: pytest.MonkeyPatch, home: Path, address: str) -> None:
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "CHANDLERY_ARTIFACTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CHANDLERY_HOME", str(home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("CHANDLERY_RUN_ID", "run-1")
    monkeypatch.setenv("CHANDLERY_TASK", "register-model")
    monkeypatch.setenv("CHANDLERY_GIT_COMMIT", "c0ffee")


@pytest.fixture
def model_name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A registered model of this test alone."""
    return f"{request.node.originalname}-{time.time_ns()}"


class Children:
    """Starts processes that have MLflow imported already and no thread or lock of this one.

    They are forked from a server process in which nothing else has ever run: a child of this process would inherit the
    state of whatever ran in it before (gRPC's threads, say, which a fork does not copy, and their locks, which it does).
    """

    def __init__(self, context: ForkServerContext) -> None:
        self.barrier = context.Barrier
        self.queue = context.Queue
        self._process = context.Process

    def start(self, target: Callable[..., None], *arguments: Any) -> BaseProcess:
        """Run `target` in a child that has the environment of this process as it is now."""
        child = self._process(target=_run, args=(dict(os.environ), target, arguments), daemon=True)
        child.start()
        return child


def _run(environment: dict[str, str], target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    target(*arguments)


@pytest.fixture(scope="session")
def children() -> Children:
    """Processes of a test."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "mlflow", "chandlery.registry.register"])
    return Children(context)


Package = Callable[[str], Path]
Submit = Callable[..., Submission]


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """Make a model package that differs by its `content`."""

    def make(content: str = "a") -> Path:
        folder = tmp_path / "packages" / content
        if folder.exists():
            return folder
        record = provenance.Provenance(
            run_id="run-1",
            data_repo="lines",
            data_branch="master",
            data_commit=COMMIT,
            recipe="recipe.py:Line",
            experiment="tune-1",
            git_commit="c0ffee",
        )
        write_package(folder, f"{content.encode().hex():0<64}", content.encode() * 200_000, record)
        return folder

    return make


@pytest.fixture
def submit(package: Package, model_name: str, tmp_path: Path) -> Submit:
    """Make a submission of the model that differs by `content`."""

    def make(content: str = "a", name: str = "") -> Submission:
        report = tmp_path / "evaluation.html"
        report.write_text("<p>evaluation</p>")
        table = tmp_path / "trials.csv"
        table.write_text("trial,lr\n1,0.01\n")
        return submission(
            name=name or model_name,
            package=package(content),
            record=provenance.current(),
            metrics={"mae": 0.3},
            experiment={"evaluation.html": report, "trials.csv": table},
            about=About("Draws a line.", "geometry", "Interpolation.", "Not beyond x = 10."),
            slices=[{"slice": "x<5", "mae": 0.1}],
        )

    return make
