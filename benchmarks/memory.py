"""What the laptop platform takes when nothing happens."""

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
APART = 1.0  # seconds between two looks that are to agree
STEADY_MIB = 1.0  # what two looks may differ by


def _contenders(setting: Setting) -> list[Contender]:
    home = setting.scratch / "home"
    return [Contender("chandlery", OURS, _idle(home), {p: version(p) for p in ("chandlery", "mlflow")})]


def _idle(home: Path) -> Open:
    @contextmanager
    def opened() -> Iterator[Run]:
        with steps.platform(str(home)):
            yield lambda number: _settled(home)

    return opened


def _settled(home: Path) -> Figures:
    """Return the figures once two looks agree, or as they are after `SETTLE_SECONDS`."""
    limit = time.monotonic() + SETTLE_SECONDS
    before = _look(home)
    while True:
        time.sleep(APART)
        now = _look(home)
        if abs(now["all processes"] - before["all processes"]) < STEADY_MIB or time.monotonic() > limit:
            return now
        before = now


def _look(home: Path) -> dict[str, float]:
    """Return the proportional set size of the supervisor and all that it started, and of MLflow's part in it."""
    pid = json.loads((home / "platform" / "supervisor.pid").read_text(encoding="utf-8"))["pid"]
    supervisor = psutil.Process(pid)
    sizes = {p.pid: _proportional(p) for p in (supervisor, *supervisor.children(recursive=True))}
    mlflow = json.loads((home / "platform" / "state.json").read_text(encoding="utf-8"))["mlflow"]["pid"]
    return {"all processes": sum(sizes.values()), "MLflow's server": sizes[mlflow], "processes": len(sizes)}


def _proportional(process: psutil.Process) -> float:
    # macOS has no proportional set size: what is shared is then counted once for each process.
    info = process.memory_full_info()
    return float(getattr(info, "pss", info.uss)) / 2**20


ROWS = (
    Row(
        "memory-idle",
        "memory of the laptop platform after `chandlery up`, no model server, nothing to do",
        _contenders,
        (Figure("all processes", "MiB"), Figure("MLflow's server", "MiB"), Figure("processes", "")),
        (Aim("all processes", at_most=400.0),),
        notes="Proportional set size, summed over the supervisor and all processes that it started.",
    ),
)
