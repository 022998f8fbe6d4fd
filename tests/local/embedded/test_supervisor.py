"""The laptop platform's supervisor: starts, restarts, adopts, stops, with small services in place of the real ones."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from chandlery import processes
from chandlery.embedded.supervisor import control, daemon
from chandlery.processes.ports import free_port
from tests.chaos.faults import full_disk, small_disk

# A supervisor whose services are small programs: one listens on the gateway's port, the others only sleep.
STAND_IN = """
import sys
from chandlery.embedded.supervisor import daemon, services
from chandlery.processes.ports import is_open
def small(home, ports):
    port = ports["gateway"]
    listen = f"import socket,time; s=socket.create_server(('127.0.0.1', {port})); time.sleep(600)"
    return [
        services.Service("gateway", [sys.executable, "-c", listen], lambda: is_open(port)),
        *(
            services.Service(name, [sys.executable, "-c", "import time; time.sleep(600)"], lambda: True, order=1)
            for name in ("mlflow", "deployments", "experiments")
        ),
    ]
daemon.services = small
sys.exit(daemon.main())
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with supervised(tmp_path, monkeypatch):
        yield tmp_path


@contextmanager
def supervised(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `control` start the supervisor with the small services, and stop it afterwards."""
    monkeypatch.setenv("CHANDLERY_HOME", str(root))
    start = processes.start
    monkeypatch.setattr(
        control.processes,
        "start",
        lambda argv, environment, log: start([sys.executable, "-c", STAND_IN], environment, log),
    )
    yield
    control.down(root)


def pids(home: Path) -> dict[str, int]:
    return {service.name: service.pid for service in control.states(home)}


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "did not happen in time"
        time.sleep(0.05)


def ready(home: Path) -> bool:
    found = control.states(home)
    return bool(found) and all(service.ready for service in found)


def test_up_twice_is_one_platform_and_down_leaves_nothing(home: Path) -> None:
    control.up(home)
    first = pids(home)
    control.up(home)
    assert pids(home) == first
    assert set(first) == {"mlflow", "gateway", "deployments", "experiments"}
    assert control.down(home)
    assert not any(processes.runs(pid) for pid in first.values())
    assert not control.running(home)
    assert not (home / "platform" / "endpoints.json").exists()
    assert not control.down(home)


def endpoints_of(home: Path) -> set[str]:
    return set(json.loads((home / "platform" / "endpoints.json").read_text()))


def test_only_the_services_asked_for_are_started_and_more_may_follow(home: Path) -> None:
    lines: list[str] = []
    control.up(home, services=(), progress=lines.append)
    assert not control.running(home)
    control.up(home, services=("mlflow",), progress=lines.append)
    first = pids(home)
    assert set(first) == {"mlflow"}
    assert endpoints_of(home) == {"mlflow"}
    control.up(home, services=("mlflow", "gateway"), progress=lines.append)
    assert pids(home).items() > first.items()
    assert set(pids(home)) == {"mlflow", "gateway"}
    assert endpoints_of(home) == {"mlflow", "gateway"}
    assert lines == ["starting mlflow", "mlflow is ready", "starting gateway", "gateway is ready"]


def test_a_supervisor_started_again_starts_the_same_services(home: Path) -> None:
    control.up(home, services=("experiments",))
    supervisor = processes.load(home / "platform" / "supervisor.pid")
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(lambda: not processes.is_running(supervisor))
    control.up(home, services=("gateway",))
    assert set(pids(home)) == {"gateway", "experiments"}
    control.down(home)
    control.up(home, services=("mlflow",))
    assert set(pids(home)) == {"mlflow"}


def test_a_killed_service_is_started_again(home: Path) -> None:
    control.up(home)
    before = pids(home)
    os.kill(before["experiments"], signal.SIGKILL)
    wait_until(lambda: ready(home) and pids(home)["experiments"] != before["experiments"])
    restarts = {s.name: s.restarts for s in control.states(home)}
    assert restarts == {"mlflow": 0, "gateway": 0, "deployments": 0, "experiments": 1}


def test_a_killed_supervisors_services_are_adopted_with_their_ports(home: Path) -> None:
    control.up(home)
    before, endpoints = pids(home), (home / "platform" / "endpoints.json").read_text()
    supervisor = processes.load(home / "platform" / "supervisor.pid")
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(lambda: not processes.is_running(supervisor))
    assert not control.running(home)
    control.up(home)
    assert pids(home) == before
    assert (home / "platform" / "endpoints.json").read_text() == endpoints


def test_down_after_the_supervisor_was_killed_stops_its_services(home: Path) -> None:
    control.up(home)
    before = pids(home)
    supervisor = processes.load(home / "platform" / "supervisor.pid")
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until(lambda: not processes.is_running(supervisor))
    control.down(home)
    wait_until(lambda: not any(processes.runs(pid) for pid in before.values()))


def test_ports_are_remembered_over_down_and_up_but_a_strangers_port_is_left_alone(home: Path) -> None:
    control.up(home)
    ports = (home / "platform" / "ports.json").read_text()
    control.down(home)
    control.up(home)
    assert (home / "platform" / "ports.json").read_text() == ports
    control.down(home)
    taken = daemon.remembered_ports(home, {})["gateway"]
    with socket.create_server(("127.0.0.1", taken)):
        assert daemon.remembered_ports(home, {})["gateway"] != taken


def test_a_reused_pid_is_not_the_process_it_was() -> None:
    me = processes.identify(os.getpid())
    assert processes.is_running(me)
    assert not processes.is_running(processes.ProcessId(os.getpid(), me.started - 3600))
    assert not processes.is_running(replace(me, ticks=me.ticks - 1))
    assert not processes.is_running(None)


def test_free_ports_can_be_bound() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        assert server.getsockname()[1] > 0


def test_a_full_disk_passes_and_the_supervisor_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", 8) as problem:
        if problem:
            pytest.skip(f"no small disk can be mounted here: {problem}")
        root = tmp_path / "disk" / "home"
        with supervised(root, monkeypatch):
            control.up(root)
            before, supervisor = pids(root), processes.load(root / "platform" / "supervisor.pid")
            with full_disk(root, 0):
                os.kill(before["experiments"], signal.SIGKILL)
                time.sleep(2)
                assert processes.is_running(supervisor)
            wait_until(lambda: ready(root) and pids(root)["experiments"] != before["experiments"])
            assert processes.load(root / "platform" / "supervisor.pid") == supervisor
            assert pids(root)["gateway"] == before["gateway"]
            known = {path.stem: processes.load(path) for path in (root / "platform" / "services").iterdir()}
            assert {name: one.pid for name, one in known.items() if one} == pids(root)
