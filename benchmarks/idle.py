"""What the laptop platform takes of the processor when nothing happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks import steps
from benchmarks.harness import OURS, Aim, Contender, Figure, Figures, Open, Row, Run, Setting

SETTLE_SECONDS = 20.0
SECONDS, QUICK_SECONDS = 60.0, 3.0


def _contenders(setting: Setting) -> list[Contender]:
    seconds = QUICK_SECONDS if setting.quick else SECONDS
    return [
        Contender(
            "chandlery",
            OURS,
            _idle(setting.scratch / "home", seconds),
            {p: version(p) for p in ("chandlery", "mlflow")},
        )
    ]


def _idle(home: Path, seconds: float) -> Open:
    @contextmanager
    def opened() -> Iterator[Run]:
        with steps.platform(str(home)):
            time.sleep(SETTLE_SECONDS if seconds == SECONDS else 1.0)
            yield lambda number: _look(home, seconds)

    return opened


def _look(home: Path, seconds: float) -> Figures:
    """Return the share of a core that the supervisor and all that it started used, in percent."""
    pid = json.loads((home / "platform" / "supervisor.pid").read_text(encoding="utf-8"))["pid"]
    supervisor = psutil.Process(pid)
    processes = [supervisor, *supervisor.children(recursive=True)]
    before = [_used(process) for process in processes]
    began = time.monotonic()
    time.sleep(seconds)
    used = [_used(process) - earlier for process, earlier in zip(processes, before, strict=True)]
    elapsed = time.monotonic() - began
    return {"all processes": 100 * sum(used) / elapsed, "the busiest process": 100 * max(used) / elapsed}


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


ROWS = (
    Row(
        "idle",
        "processor time of the laptop platform after `chandlery up`, no model server, nothing to do",
        _contenders,
        (Figure("all processes", "% of a core"), Figure("the busiest process", "% of a core")),
        (Aim("all processes", at_most=0.5),),
        notes="Envoy, MLflow's server, the supervisor and two controllers together, over 60 s.",
        warm_up=False,
    ),
)
