"""A living process is never taken for dead, whatever happens to the clock; a later process is never taken for it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace

import psutil
import pytest

from chandlery import processes
from chandlery.canary.decision.policy import ReleasePolicy
from chandlery.canary.decision.state import CanaryState
from chandlery.canary.watch import lease as watch
from chandlery.data import lease as data
from chandlery.processes import ProcessId, identity
from chandlery.provenance import Provenance

needs_ticks = pytest.mark.skipif(
    not os.path.isdir("/proc/self"), reason="start ticks come from Linux's /proc"
)


@pytest.fixture
def child() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which the machine's clock was set: the kernel's boot time, and so every start time, moves with it."""
    shift = [0.0]
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real(self) + shift[0])
    return shift


@needs_ticks
@pytest.mark.parametrize("seconds", [-3600.0, -3.0, -0.02, 0.02, 3.0, 3600.0])
def test_a_set_clock_makes_no_process_dead(child: int, clock: list[float], seconds: float) -> None:
    known = processes.identify(child)
    clock[0] = seconds
    assert processes.is_running(known)


@needs_ticks
def test_a_later_process_or_boot_is_another(child: int) -> None:
    known = processes.identify(child)
    assert known.ticks > 0
    assert not processes.is_running(replace(known, ticks=known.ticks - 1))
    assert not processes.is_running(replace(known, boot="another boot"))


@pytest.mark.parametrize(("shift", "same"), [(0.0, True), (0.02, True), (-0.9, True), (3.0, False)])
def test_a_record_of_an_earlier_release_is_compared_by_seconds(child: int, shift: float, same: bool) -> None:
    earlier = ProcessId(child, processes.identify(child).started + shift)
    assert processes.is_running(earlier) is same


def test_an_ended_process_does_not_run() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert not processes.runs(process.pid)
    assert not processes.is_running(processes.identify(process.pid))
    process.wait()
    assert not processes.runs(process.pid)


def test_a_record_is_read_back_whole(tmp_path: os.PathLike[str], child: int) -> None:
    path = tmp_path / "pid"  # type: ignore[operator]
    processes.save(processes.identify(child), path)
    assert processes.load(path) == processes.identify(child)
    path.write_text(json.dumps({"pid": child, "started": processes.identify(child).started}))
    assert processes.is_running(processes.load(path))


class TestLeases:
    """The leases of data commits and of canaries ask the same question."""

    @pytest.mark.parametrize("shift", [0.02, 0.5, -0.9])
    def test_a_watcher_of_an_earlier_release_is_alive(self, shift: float) -> None:
        started = psutil.Process().create_time() + shift
        holder = f"{socket.gethostname()}/{os.getpid()}/{started:.2f}"
        assert watch.is_alive(self.state(holder))

    def test_a_watcher_outlives_a_set_clock(self, clock: list[float]) -> None:
        state = self.state(processes.holder_text())
        clock[0] = -3600.0
        assert watch.is_alive(state)

    def test_a_writer_outlives_a_set_clock(self, clock: list[float]) -> None:
        description = data.opening(Provenance(), "", 60.0)
        clock[0] = -3600.0
        assert not data.abandoned(self.commit(description))
        assert data.abandoned(self.commit(description.replace(f'"pid": {os.getpid()}', '"pid": 4194303')))

    def state(self, holder: str) -> CanaryState:
        state = CanaryState(run="run", champion="v1", challenger="v2", policy=ReleasePolicy())
        return state.with_(holder=holder, heartbeat=time.time())

    def commit(self, description: str) -> object:
        return type("CommitInfo", (), {"description": description})()


@needs_ticks
@pytest.mark.skipif(shutil.which("faketime") is None, reason="needs faketime (Debian package faketime)")
@pytest.mark.parametrize("clock_of_reader", ["-1h", "+1h"])
def test_processes_with_other_clocks_agree(child: int, clock_of_reader: str) -> None:
    program = (
        "import json, sys; from chandlery import processes;"
        "known = processes.ProcessId(**json.loads(sys.argv[1]));"
        "assert processes.is_running(known); print(json.dumps(vars(processes.identify(known.pid))))"
    )
    known = processes.identify(child)
    done = subprocess.run(
        ["faketime", "-f", clock_of_reader, sys.executable, "-c", program, json.dumps(asdict(known))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert processes.is_running(ProcessId(**json.loads(done.stdout)))


def test_the_holder_of_another_host_cannot_be_asked() -> None:
    assert identity.holder_is_running("elsewhere/1/1.00") is None
    assert identity.holder_is_running("elsewhere/1/1.00/5/boot") is None
