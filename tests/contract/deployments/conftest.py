"""A laptop platform of one test: store, gateway and deployment controller as processes, with a stand-in server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from chandlery.deployments.evidence import read_evidence
from chandlery.deployments.spec import ServingSpec, Variant
from chandlery.embedded.deployments.servers import marked_processes, stop_servers
from chandlery.embedded.gateway.envoy import find_envoy
from chandlery.embedded.gateway.place import Address, Place, read_address
from chandlery.embedded.resources import EmbeddedStore
from chandlery.resources import ResourceStore

HERE = Path(__file__).parent
STANDIN = HERE / "standin.py"
CONTROLLER = (
    "import signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); from chandlery.embedded.deployments.run import main; "
    f"sys.exit(main((sys.executable, {str(STANDIN)!r})))"
)


@dataclass
class Platform:
    """What a test sees of the platform, and how it hurts it."""

    home: Path
    kind: str
    store: ResourceStore
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, what: str) -> None:
        """Start `gateway` or `controller`."""
        command = ["-m", "chandlery.embedded.gateway"] if what == "gateway" else ["-c", CONTROLLER]
        environment = {
            **os.environ,
            "CHANDLERY_HOME": str(self.home),
            "CHANDLERY_RESOURCES": f"embedded://{self.home}/resources",
            "CHANDLERY_GATEWAY_KIND": self.kind,
        }
        with open(self.home / f"{what}.log", "ab") as log:
            self.processes[what] = subprocess.Popen(
                [sys.executable, *command], env=environment, stdout=log, stderr=log
            )
        if what == "gateway":
            until(lambda: self._gateway_answers(), "the gateway answers")

    def kill(self, what: str) -> None:
        """Kill -9."""
        self.processes[what].send_signal(signal.SIGKILL)
        self.processes[what].wait(10)

    def servers(self) -> dict[str, psutil.Process]:
        """The server processes by slot."""
        return marked_processes(self.home)

    @property
    def address(self) -> Address:
        """Where the gateway is."""
        address = read_address(Place(self.home))
        assert address is not None
        return address

    @property
    def url(self) -> str:
        """Base URL of the gateway."""
        return self.address.url

    def _gateway_answers(self) -> bool:
        address = read_address(Place(self.home))
        try:
            return address is not None and httpx.get(f"{address.url}/none", timeout=1).status_code == 404
        except httpx.HTTPError:
            return False


def until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Wait for `condition`, or fail saying `what` did not happen."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def counted(platform: Platform) -> int:
    """Requests that the weights sent somewhere, as the gateway counted them."""
    found = read_evidence("digits", "default", 0.25, gateway=platform.url)
    return sum(counts.requests for counts in found.values())


def variant(version: str, weight: int, behaviour: str = "") -> Variant:
    """A variant served by the stand-in."""
    return Variant(version, f"standin:?{behaviour}", weight)


def serving(*variants: Variant, **changes: object) -> ServingSpec:
    """A deployment `digits` of these variants."""
    strategy = "replace" if len(variants) == 1 else "canary"
    return ServingSpec("digits", "default", "digits", variants, strategy=strategy).with_(**changes)


@pytest.fixture(params=["envoy", "aiohttp"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both gateways."""
    if request.param == "envoy" and find_envoy() is None:
        pytest.skip("Envoy has no wheel for this platform and is not on the PATH")
    return str(request.param)


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> Iterator[Platform]:
    """A running platform; afterwards nothing of it runs."""
    with running_platform(tmp_path, monkeypatch, kind) as made:
        yield made


@contextmanager
def running_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> Iterator[Platform]:
    """Start a platform, and stop all of it."""
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    for name in ("CHANDLERY_GATEWAY", "CHANDLERY_PROMETHEUS", "CHANDLERY_RESOURCES"):
        monkeypatch.delenv(name, raising=False)
    store = EmbeddedStore(tmp_path / "resources")
    made = Platform(tmp_path, kind, store)
    try:
        made.start("gateway")
        made.start("controller")
        monkeypatch.setenv("CHANDLERY_GATEWAY", made.url)
        yield made
    finally:
        for process in made.processes.values():
            process.terminate()
        for process in made.processes.values():
            process.wait(20)
        left = stop_servers(tmp_path, 5)
        store.close()
    assert left == 0, "the controller left servers behind"
