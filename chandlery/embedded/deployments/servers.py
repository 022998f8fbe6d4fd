"""Server processes: started, remembered on disk, found again by a later controller, stopped. None is ever lost.

A record is written before its process starts. A controller that dies between the two leaves a process that carries
the record's slot in its environment, by which the next controller finds it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from chandlery import addresses, processes
from chandlery.embedded.gateway.place import Place, read_address
from chandlery.embedded.gateway.table import write_json
from chandlery.processes import PYTHON, ProcessId, signal_group
from chandlery.processes.ports import HOST, choose_port

SLOT_VARIABLE = "CHANDLERY_SLOT"
RPC_VARIABLE = "CHANDLERY_GRPC"
SERVER = (*PYTHON, "chandlery.inference")

_LOG_BYTES = 5 << 20
_TAIL_LINES = 6


@dataclass(frozen=True)
class Record:
    """One server process as remembered on disk.

    Attributes:
        namespace: namespace of the deployment.
        deployment: its name.
        predictor: its predictor.
        digest: digest of what the predictor asked for when the server was made.
        index: number of the replica.
        port: where it listens; kept over restarts.
        environment: what it was given.
        log: path of its log.
        pid: process id; 0: being started.
        created: start of the process, seconds since the epoch; with `ticks` and `boot` it is `ProcessId`'s.
        ticks: start of the process in clock ticks since the boot.
        boot: id of the boot.
        log_offset: length of the log when it started.
        rpc_port: where it speaks gRPC; 0: it does not.
    """

    namespace: str
    deployment: str
    predictor: str
    digest: str
    index: int
    port: int
    environment: Mapping[str, str]
    log: str
    pid: int = 0
    created: float = 0.0
    ticks: int = 0
    boot: str = ""
    log_offset: int = 0
    rpc_port: int = 0

    @property
    def slot(self) -> str:
        """Name that no other record has."""
        return f"{self.namespace}/{self.deployment}/{self.predictor}/{self.digest}/{self.index}"

    @property
    def process(self) -> ProcessId | None:
        """Its process; None while it is being started."""
        return ProcessId(self.pid, self.created, self.ticks, self.boot) if self.pid else None

    def of_process(self, process: ProcessId | None) -> Record:
        """Return the record with another process, None for none."""
        known = process or ProcessId(0, 0.0)
        return replace(self, pid=known.pid, created=known.started, ticks=known.ticks, boot=known.boot)

    @property
    def endpoint(self) -> str:
        """Where it listens: `host:port`."""
        return f"{HOST}:{self.port}"

    @property
    def rpc_endpoint(self) -> str:
        """Where it speaks gRPC: `host:port`; empty: it does not."""
        return f"{HOST}:{self.rpc_port}" if self.rpc_port else ""


@dataclass
class Server:
    """A record and what is known of its process now.

    Attributes:
        record: what is on disk.
        ready: it answered that it is ready, and has not died since.
        ready_since: when, on the monotonic clock.
        started: when its process started, on the monotonic clock.
        crashes: times that it died since it was last well for a while.
        restart_at: when it may start again, on the monotonic clock.
        problem: why it died last, its last lines included; empty when all is well.
        unresponsive: liveness probes in a row that failed.
        stopping: it is being stopped.
    """

    record: Record
    ready: bool = False
    ready_since: float = 0.0
    started: float = 0.0
    crashes: int = 0
    restart_at: float = 0.0
    problem: str = ""
    unresponsive: int = 0
    stopping: bool = False
    child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def running(self) -> bool:
        """Return whether its process is there."""
        if self.child is not None:
            return self.child.poll() is None
        return processes.is_running(self.record.process)

    def last_lines(self) -> list[str]:
        """Return the end of its last process's log."""
        try:
            with open(self.record.log, "rb") as log:
                log.seek(max(self.record.log_offset, os.fstat(log.fileno()).st_size - 8192))
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return []
        return [line.rstrip() for line in text.splitlines() if line.strip()][-_TAIL_LINES:]


class Servers:
    """Starts, finds and stops the servers of one home folder.

    Args:
        home: the home folder.
        command: how a server is started.
    """

    def __init__(self, home: Path, command: Sequence[str] = SERVER) -> None:
        self._home = home
        self._records = home / "deployments" / "servers"
        self._command = list(command)
        self.all: dict[str, Server] = {}

    def adopt(self) -> list[str]:
        """Take over what an earlier controller left; return the slots whose server still runs."""
        marked = marked_processes(self._home)
        for path in sorted(self._records.glob("*.json")):
            record = _read(path)
            if record is None:
                path.unlink()
                continue
            found = marked.pop(record.slot, None)
            if found is not None:
                record = record.of_process(processes.identify(found.pid))
                self._write(record)
            self.all[record.slot] = Server(record, started=time.monotonic())
        for process in marked.values():
            signal_group(process.pid, signal.SIGKILL)
        return [slot for slot, server in self.all.items() if server.running()]

    def make(
        self,
        namespace: str,
        deployment: str,
        predictor: str,
        digest: str,
        index: int,
        environment: Mapping[str, str],
    ) -> Server:
        """Remember a new server, and start it."""
        log = self._home / "logs" / "servers" / namespace / deployment / f"{predictor}-{index}.log"
        record = Record(namespace, deployment, predictor, digest, index, 0, dict(environment), str(log))
        server = Server(record)
        self.all[record.slot] = server
        self.start(server)
        return server

    def start(self, server: Server) -> None:
        """Start the process of a server whose process is not there."""
        record = server.record
        log = Path(record.log)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            os.replace(log, log.with_suffix(".log.1"))
        others = [s.record for s in self.all.values() if s is not server]
        taken = frozenset(port for other in others for port in (other.port, other.rpc_port))
        port = choose_port(0, record.port, taken)
        rpc_port = choose_port(0, record.rpc_port, taken | {port}) if _speaks_rpc(record) else 0
        record = replace(record.of_process(None), port=port, rpc_port=rpc_port)
        self._write(record)
        with open(log, "ab") as out:
            record = replace(record, log_offset=out.seek(0, os.SEEK_END))
            server.child = subprocess.Popen(
                self._command,
                env=self._environment(record),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server.record = record.of_process(processes.identify(server.child.pid))
        self._write(server.record)
        server.ready, server.unresponsive, server.started = False, 0, time.monotonic()

    def signal(self, server: Server, number: signal.Signals) -> None:
        """Send a signal to the process group of a server, if it is there."""
        if server.running():
            signal_group(server.record.pid, number)

    def forget(self, server: Server) -> None:
        """Remove a server whose process is gone."""
        self.all.pop(server.record.slot, None)
        self._path(server.record).unlink(missing_ok=True)

    def _environment(self, record: Record) -> dict[str, str]:
        endpoints = addresses.endpoints()
        gateway = read_address(Place(self._home))
        ours = {
            "CHANDLERY_HOME": str(self._home),
            "CHANDLERY_GATEWAY": endpoints.gateway or (gateway.url if gateway else ""),
            "MLFLOW_TRACKING_URI": endpoints.mlflow,
            "CHANDLERY_REQUEST_LOG": str(self._home / "requests" / record.namespace / record.deployment),
            # The gateway has forgotten a server before it is stopped.
            "CHANDLERY_DRAIN_DELAY_SECONDS": "0.1",
            "CHANDLERY_GRACE_SECONDS": "15",
        }
        return {
            **os.environ,
            **{name: value for name, value in ours.items() if value},
            **record.environment,
            "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": str(record.port),
            "PREDICTIVE_UNIT_SERVICE_PORT": str(record.port),
            "PREDICTIVE_UNIT_GRPC_SERVICE_PORT": str(record.rpc_port),
            SLOT_VARIABLE: record.slot,
        }

    def _path(self, record: Record) -> Path:
        return self._records / (record.slot.replace("/", "_") + ".json")

    def _write(self, record: Record) -> None:
        write_json(self._path(record), asdict(record))


def stop_servers(home: Path, deadline: float = 20.0) -> int:
    """Stop every server of a home folder, whichever controller started it; for a supervisor whose controller is gone.

    Args:
        home: the home folder.
        deadline: seconds that they get to finish what is in flight, before they are killed.

    Returns:
        how many there were.
    """
    found = list(marked_processes(home).values())
    for process in found:
        signal_group(process.pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(found, timeout=deadline)
    for process in alive:
        signal_group(process.pid, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=5)
    for path in (home / "deployments" / "servers").glob("*.json"):
        path.unlink()
    return len(found)


def marked_processes(home: Path) -> dict[str, psutil.Process]:
    """Return the server processes of a home folder by slot: leaders of their groups that carry its marks."""
    found: dict[str, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, OSError):
            environment = process.environ()
            ours = environment.get(SLOT_VARIABLE) and environment.get("CHANDLERY_HOME") == str(home)
            if ours and os.getpgid(process.pid) == process.pid and processes.runs(process.pid):
                found[environment[SLOT_VARIABLE]] = process
    return found


def _speaks_rpc(record: Record) -> bool:
    """Return whether the deployment, or where it says nothing the platform, asks for gRPC."""
    asked = record.environment.get(RPC_VARIABLE, os.environ.get(RPC_VARIABLE, ""))
    return asked.strip().lower() in ("1", "true", "yes", "on")


def _read(path: Path) -> Record | None:
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Record(**document)
    except (json.JSONDecodeError, TypeError):
        return None  # of another release
