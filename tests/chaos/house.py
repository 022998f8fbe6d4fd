"""The platform that the rounds share: its home, its processes by kind, how work is started on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
STANDIN = ROOT / "tests" / "contract" / "deployments" / "standin.py"

# A word of the command line -> what the process is.
KINDS = {
    "chandlery.embedded.supervisor": "supervisor",
    "chandlery.embedded.gateway": "gateway",
    "chandlery.embedded.mlflow.server": "mlflow",
    "chandlery.embedded.deployments": "deployments",
    "chandlery.embedded.experiments": "experiments",
    "chandlery.embedded.pipelines.worker": "step",
    "chandlery.embedded.pipelines": "executor",
    "kfp.dsl.executor_main": "step",
    "tests.chaos.worker": "command",
}


@dataclass
class House:
    """One platform.

    Attributes:
        base: folder of everything that the test keeps outside of the platform's disk.
        home: the platform's home.
        started: the commands started so far that have not ended.
    """

    base: Path
    home: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a command on this platform."""
        known = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CHANDLERY_", "MLFLOW_"))
        }
        return {
            **known,
            "CHANDLERY_HOME": str(self.home),
            "PYTHONPATH": str(ROOT / "tests" / "chaos" / "standin"),
            "CHAOS_STANDIN": str(STANDIN),
            "PYTHONUNBUFFERED": "1",
            **(more or {}),
        }

    def start(
        self, words: list[str], log: Path, more: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own; what it says goes to `log`."""
        with open(log, "ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                env=self.environment(more),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.started = [one for one in self.started if one.poll() is None] + [process]
        return process

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return every living process of this platform by kind."""
        found: dict[str, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            kind = self._kind(process)
            if kind:
                found.setdefault(kind, []).append(process)
        return found

    def kill_everything(self) -> list[int]:
        """Kill all of it at once, as a power cut would."""
        victims = [process for some in self.processes().values() for process in some]
        for process in victims:
            kill(process)
        return [process.pid for process in victims]

    def _kind(self, process: psutil.Process) -> str:
        try:
            environment = process.environ()
            if environment.get("CHANDLERY_HOME") != str(self.home):
                return ""
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                return ""
            words = process.cmdline()
        except psutil.Error:
            return ""
        if environment.get("CHANDLERY_SLOT"):
            return "server"
        if "chandlery.cli.main" in words:
            return "pachd" if "pachd" in words else "command"
        known = next((KINDS[word] for word in words if word in KINDS), "")
        if known:
            return known
        if words and "envoy" in Path(words[0]).name:
            return "gateway"
        if any("experiments/wrapper.py" in word or "chandlery.training.trial" in word for word in words):
            return "trial"
        return "trial" if any(word.endswith("trial_program.py") for word in words) else "other"


def kill(process: psutil.Process) -> bool:
    """Send SIGKILL; tell whether the process was there."""
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.Error:
        return False
    return True
