"""The supervisor process: keeps each wanted service running until SIGTERM.

Killed at any moment, it loses nothing: ports and process identities are on disk, the next one adopts the
services that still run and starts those that do not.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from chandlery import processes
from chandlery.addresses import home
from chandlery.embedded.supervisor.services import Service, endpoint_table, service_environment, services
from chandlery.embedded.supervisor.wanted import wanted, wanted_stamp
from chandlery.files import write_json
from chandlery.processes import ProcessId
from chandlery.processes.descriptors import raise_descriptor_limit
from chandlery.processes.flag import Flag
from chandlery.processes.locks import claim
from chandlery.processes.ports import free_port, is_open

TICK = 0.25  # seconds between two turns while something happens
REST = 1.0  # and while nothing does
CHILD_ENDED = Flag()
FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.5, 30.0  # seconds before a service that died is started again
STEADY = 60.0  # seconds of running after which a service's back-off starts afresh


@dataclass
class Running:
    """State of one service."""

    service: Service
    process: ProcessId | None = None
    child: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    back_off: float = FIRST_BACK_OFF
    not_before: float = 0.0
    since: float = 0.0
    ready: bool = False


def folder(root: Path) -> Path:
    """Return the folder of the platform's own state."""
    return root / "platform"


def main() -> int:
    """Supervise until SIGTERM; returns 0, also when another supervisor already runs."""
    raise_descriptor_limit()  # each service starts with the limit of this process
    root = home()
    state = folder(root)
    state.mkdir(parents=True, exist_ok=True)
    if claim(state / "lock") is None:  # never closed: held until the process ends
        print("another supervisor runs in this home", flush=True)
        return 0
    stop = Flag()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    def on_child(number: int, frame: FrameType | None) -> None:
        CHILD_ENDED.set()

    signal.signal(signal.SIGCHLD, on_child)
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    processes.save(processes.identify(os.getpid()), state / "supervisor.pid")
    supervise(root, stop)
    return 0


def supervise(root: Path, stop: Flag) -> None:
    """Run the loop: adopt or start, restart what dies, write the state; on `stop` end everything."""
    state = folder(root)
    adopted = {path.stem: processes.load(path) for path in (state / "services").glob("*.pid")}
    ports = remembered_ports(root, adopted)
    environment = service_environment(root, ports)
    known = {service.name: service for service in services(root, ports)}
    running: dict[str, Running] = {}
    still_wanted = wanted(state)
    for name, process in adopted.items():
        if not processes.is_running(process) or name not in still_wanted:
            processes.end(process, root)  # where its leader is gone, nothing of its group may stay
    written: dict[str, str] | None = None
    told: dict[str, dict[str, object]] | None = None
    trouble = ""
    while not stop.is_set():
        try:
            _add_wanted(running, known, adopted, state)
            table = endpoint_table(ports, running)
            if table != written:
                write_json(state / "endpoints.json", table)
                written = table
            for entry in running.values():
                _keep_running(entry, environment, state)
            described = {name: _describe(entry) for name, entry in running.items()}
            if described != told:
                write_json(state / "state.json", described)
                told = described
            trouble = ""
        except OSError as error:
            # Such as a full disk. Running services go on, and a later turn may find room.
            if trouble != str(error):
                with contextlib.suppress(OSError):
                    print(f"cannot look after the services now: {error}", flush=True)
            trouble = str(error)
        _rest(stop, running, state)
    (state / "endpoints.json").unlink(missing_ok=True)
    for order in sorted({entry.service.order for entry in running.values()}, reverse=True):
        together = [entry for entry in running.values() if entry.service.order == order]
        threads = [threading.Thread(target=_stop, args=(entry, state)) for entry in together]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (state / "state.json").unlink(missing_ok=True)
    (state / "supervisor.pid").unlink(missing_ok=True)


def _rest(stop: Flag, running: dict[str, Running], state: Path) -> None:
    """Wait for the next turn: a tick while a service is not ready, else until something happens, a second at most."""
    looked = wanted_stamp(state)
    end = time.monotonic() + REST
    while not stop.wait(TICK):
        ended = CHILD_ENDED.is_set()
        CHILD_ENDED.clear()
        ready = all(entry.ready for entry in running.values())
        if ended or not ready or wanted_stamp(state) != looked or time.monotonic() >= end:
            return


def _add_wanted(
    running: dict[str, Running],
    known: dict[str, Service],
    adopted: dict[str, ProcessId | None],
    state: Path,
) -> None:
    for name in wanted(state):
        if name in running or name not in known:
            continue
        entry = running[name] = Running(known[name])
        process = adopted.get(name)
        if processes.is_running(process):
            entry.process, entry.since = process, time.monotonic()


def remembered_ports(root: Path, adopted: dict[str, ProcessId | None]) -> dict[str, int]:
    """Return the platform's ports: as before where they are ours or free, new ones where a stranger took them."""
    path = folder(root) / "ports.json"
    try:
        ports: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        ports = {}
    for name in ("mlflow", "gateway"):
        wanted = int(os.environ.get(f"CHANDLERY_{name.upper()}_PORT", "0")) or ports.get(name, 0)
        if processes.is_running(adopted.get(name)) and name in ports:
            continue
        if not wanted or is_open(wanted):
            if wanted:
                print(f"port {wanted} for {name} is taken by another program: choosing another", flush=True)
            wanted = free_port()
        ports[name] = wanted
    write_json(path, ports)
    return ports


def _keep_running(entry: Running, environment: dict[str, str], state: Path) -> None:
    service = entry.service
    if entry.child is not None and entry.child.poll() is not None:
        entry.child = None  # reaped: no zombie stays
    if processes.is_running(entry.process):
        entry.ready = entry.ready or service.ready()
        if time.monotonic() - entry.since > STEADY:
            entry.back_off = FIRST_BACK_OFF
        return
    entry.ready = False
    now = time.monotonic()
    if entry.process is not None:
        print(
            f"{service.name} (pid {entry.process.pid}) ended: starting it again in {entry.back_off:.1f} s",
            flush=True,
        )
        processes.end(entry.process, state.parent, grace=0)
        entry.process = None
        entry.restarts += 1
        entry.not_before = now + entry.back_off
        entry.back_off = min(entry.back_off * 2, LONGEST_BACK_OFF)
    if now < entry.not_before:
        return
    entry.child, entry.process = processes.start_remembered(
        service.argv,
        {**environment, **service.environment},
        state / "logs" / f"{service.name}.log",
        state / "services" / f"{service.name}.pid",
    )
    entry.since = now
    print(f"{service.name}: pid {entry.process.pid}", flush=True)


def _stop(entry: Running, state: Path) -> None:
    processes.end(entry.process, state.parent, entry.service.grace)
    if entry.child is not None:
        entry.child.wait(timeout=5)
    (state / "services" / f"{entry.service.name}.pid").unlink(missing_ok=True)


def _describe(entry: Running) -> dict[str, object]:
    return {
        "pid": entry.process.pid if entry.process else 0,
        "ready": entry.ready,
        "restarts": entry.restarts,
    }


if __name__ == "__main__":
    sys.exit(main())
