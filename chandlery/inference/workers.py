"""Several serving processes behind one port: who starts them, starts one again that died, and stops them.

Python answers requests on one core, whatever the model does. Where a model is quick that is the limit, and a process for each
core serves as many times more; where a call of the model takes long, one process with all cores in a call is as fast and needs
the memory of one. The kernel shares the connections of a port among the processes that listen on it (SO_REUSEPORT).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from chandlery.inference.cores import cores, devices, memory_limit
from chandlery.processes import PYTHON
from chandlery.progress import report

WORKER_VARIABLE = "CHANDLERY_WORKER"  # number of this worker, from 0; set by the supervisor alone
CHOICE_VARIABLE = (
    "CHANDLERY_WORKER_CHOICE"  # file into which the first worker writes how many there should be
)
LIFELINE_VARIABLE = "CHANDLERY_WORKER_LIFELINE"  # descriptor that ends when the supervisor does
SHARED_VARIABLE = (
    "PROMETHEUS_MULTIPROC_DIR"  # where workers share metrics; Prometheus' client reads it when imported
)
# A call of one row that takes less leaves most of a request's time to Python, which one process does on one core.
QUICK_CALL_SECONDS = 0.001
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
HEALTHY_SECONDS = 60.0  # after which a worker's next death counts as its first
MEMORY_SHARE = 0.6  # of what the machine or the container has, for all workers together
POLL_SECONDS = 0.1


def choose(call_seconds: float, memory: int) -> tuple[int, str]:
    """Return how many workers a server should have, and why.

    Args:
        call_seconds: seconds of one call of the model for one row.
        memory: bytes of one worker.
    """
    found = devices()
    if found:
        return len(found), f"one for each of {len(found)} GPUs"
    available = cores()
    if call_seconds >= QUICK_CALL_SECONDS:
        return 1, f"a call takes {1000 * call_seconds:.1f} ms, which all cores share"
    fitting = max(1, int(MEMORY_SHARE * memory_limit() / max(1, memory)))
    if fitting < available:
        return fitting, f"{available} cores, and memory for {fitting} workers of {memory >> 20} MiB"
    return available, f"one for each of {available} cores: a call takes {1000 * call_seconds:.2f} ms"


def write_choice(path: Path, call_seconds: float) -> int:
    """Write how many workers there should be, for the supervisor; returns it."""
    import psutil

    count, why = choose(call_seconds, psutil.Process().memory_info().rss)
    report("server.workers", f"{count} worker{'s' if count > 1 else ''}: {why}", workers=count)
    path.with_suffix(".new").write_text(json.dumps(count))
    os.replace(path.with_suffix(".new"), path)
    return count


@dataclass
class _Worker:
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    pause: float = FIRST_PAUSE
    again_at: float = 0.0


@dataclass
class Supervisor:
    """Runs the workers of one server.

    Attributes:
        count: number of workers; 0: as the first of them finds best.
        port: port that they share.
        environment: their environment.
        reserved: keeps the port while no worker listens.
    """

    count: int
    port: int
    environment: Mapping[str, str]
    reserved: socket.socket
    _workers: list[_Worker] = field(default_factory=list)
    _stopping: bool = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until the first worker cannot start; returns the exit code."""
        shared = Path(tempfile.mkdtemp(prefix="chandlery-workers-"))
        self._choice = shared / "choice"
        (shared / "metrics").mkdir()
        self._lifeline, hold = os.pipe()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._shared = shared
        try:
            return self._run()
        finally:
            os.close(hold)
            os.close(self._lifeline)
            shutil.rmtree(shared, ignore_errors=True)

    def _run(self) -> int:
        self._workers = [_Worker() for _ in range(self.count or 1)]
        while True:
            for number, worker in enumerate(self._workers):
                code = worker.process.poll() if worker.process else None
                if worker.process is not None and code is not None:
                    if not self._stopping and not self._was_ready(worker) and number == 0 and code in (1, 2):
                        self._stop(signal.SIGTERM, None)
                        self._wait()
                        return code  # what is wrong with it would be wrong with all
                    self._died(number, worker, code)
                if worker.process is None and not self._stopping and time.monotonic() >= worker.again_at:
                    self._start(number, worker)
            if self._stopping and all(worker.process is None for worker in self._workers):
                return 0
            if not self.count and self._choice.exists():
                self.count = json.loads(self._choice.read_text())
                self._workers += [_Worker() for _ in range(self.count - 1)]
            time.sleep(POLL_SECONDS)

    def _was_ready(self, worker: _Worker) -> bool:
        return self.count > 0 and time.monotonic() - worker.began > HEALTHY_SECONDS

    def _start(self, number: int, worker: _Worker) -> None:
        given = {
            WORKER_VARIABLE: str(number),
            "CHANDLERY_WORKERS": str(max(2, self.count)),
            "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": str(self.port),
            LIFELINE_VARIABLE: str(self._lifeline),
            SHARED_VARIABLE: str(self._shared / "metrics"),
        }
        gpus = devices() if number or self.count else []
        if gpus:
            given["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        elif self.count > 1 and not self.environment.get("CHANDLERY_THREADS"):
            # Together they have the cores once.
            given["CHANDLERY_THREADS"] = str(max(1, cores() // self.count))
        if not self.count:
            given[CHOICE_VARIABLE] = str(self._choice)
        worker.process = subprocess.Popen(
            [*PYTHON, "chandlery.inference"],
            env={**self.environment, **given},
            pass_fds=(self._lifeline,),
        )
        worker.began = time.monotonic()

    def _died(self, number: int, worker: _Worker, code: int) -> None:
        assert worker.process is not None
        from prometheus_client.multiprocess import mark_process_dead

        with contextlib.suppress(OSError):
            mark_process_dead(worker.process.pid, str(self._shared / "metrics"))  # type: ignore[no-untyped-call]
        worker.process = None
        if self._stopping:
            return
        if time.monotonic() - worker.began > HEALTHY_SECONDS:
            worker.pause = FIRST_PAUSE
        report(
            "server.worker_died",
            f"worker {number} ended with code {code}; it starts again in {worker.pause:g} s",
        )
        worker.again_at = time.monotonic() + worker.pause
        worker.pause = min(2 * worker.pause, LONGEST_PAUSE)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        for worker in self._workers:
            if worker.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    worker.process.send_signal(signal.SIGTERM)

    def _wait(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                worker.process.wait()
