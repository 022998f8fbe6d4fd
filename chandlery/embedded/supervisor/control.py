"""Start, stop and inspect the laptop platform from outside its supervisor."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from chandlery import processes
from chandlery.embedded.deployments.servers import stop_servers
from chandlery.embedded.mlflow.password import choose
from chandlery.embedded.supervisor.daemon import folder
from chandlery.embedded.supervisor.services import MODULES_OF, SERVICES
from chandlery.embedded.supervisor.wanted import forget, want
from chandlery.errors import DeadlineError, PlatformError, require_extra
from chandlery.processes import PYTHON

START_DEADLINE = (
    180.0  # seconds; MLflow takes several to import, and a minute on a machine with much else to do
)
STOP_DEADLINE = 60.0
MOST_STARTS = 3  # of a supervisor within one `up`


@dataclass(frozen=True)
class ServiceState:
    """One service as the supervisor last saw it."""

    name: str
    pid: int
    ready: bool
    restarts: int


def up(
    root: Path,
    *,
    services: Collection[str] = SERVICES,
    deadline: float = START_DEADLINE,
    progress: Callable[[str], None] = lambda line: None,
) -> None:
    """Start services of the platform in a home folder, and wait until each of them is ready.

    Services that run already go on running. Which ones are wanted is on disk, so a supervisor that is started again
    starts the same ones.

    Args:
        root: home folder, absolute.
        services: names of the services; default: all.
        deadline: seconds to wait.
        progress: called with a line for what is started, and for each service that becomes ready.

    Raises:
        MissingExtraError: a library of the platform is not installed.
        UserError: `CHANDLERY_MLFLOW_AUTH` has a value that it cannot have.
        PlatformError: the supervisor cannot start.
        DeadlineError: a service is not ready in time; names it and its log.
    """
    if not services:
        return
    require_extra("laptop", *(module for name in services for module in MODULES_OF[name]))
    choose(root)
    state = folder(root)
    state.mkdir(parents=True, exist_ok=True)
    limit = time.monotonic() + deadline
    seen = {service.name for service in states(root) if service.ready}
    missing = [name for name in SERVICES if name in services and name not in seen]
    if missing:
        progress(f"starting {', '.join(missing)}")
    want(state, services)
    starts = 0
    while True:
        if not running(root):
            starts += 1
            if starts > MOST_STARTS:
                raise PlatformError(f"the supervisor ends at once: {_last_line(state)}", f"see {_log(state)}")
            _start(root)
        ready = {service.name for service in states(root) if service.ready}
        for name in sorted((ready - seen) & set(services)):
            progress(f"{name} is ready")
        seen |= ready
        if ready.issuperset(services):
            return
        if time.monotonic() > limit:
            late = sorted(set(services) - ready) if running(root) else ["supervisor"]
            raise DeadlineError(
                f"{', '.join(late)} not ready after {deadline:.0f} s",
                f"see {state / 'logs' / (late[0] + '.log')}",
            )
        time.sleep(0.1)


def down(root: Path, *, deadline: float = STOP_DEADLINE) -> bool:
    """Stop the platform and everything that it started; returns False when it was not running.

    Raises:
        DeadlineError: it did not stop in time.
    """
    state = folder(root)
    supervisor = processes.load(state / "supervisor.pid")
    was_up = processes.is_running(supervisor)
    if was_up and supervisor is not None:
        os.kill(supervisor.pid, 15)
        limit = time.monotonic() + deadline
        while processes.is_running(supervisor):
            if time.monotonic() > limit:
                raise DeadlineError(
                    f"the platform did not stop within {deadline:.0f} s", f"see {state / 'logs'}"
                )
            time.sleep(0.05)
    # Services of a supervisor that was killed.
    for path in (state / "services").glob("*.pid"):
        orphan = processes.load(path)
        was_up = was_up or processes.is_running(orphan)
        processes.end(orphan, root)
        path.unlink(missing_ok=True)
    # Model servers outlive a controller that was killed.
    was_up = stop_servers(root) > 0 or was_up
    for name in ("endpoints.json", "state.json", "supervisor.pid"):
        (state / name).unlink(missing_ok=True)
    forget(state)
    return was_up


def running(root: Path) -> bool:
    """Return whether the supervisor of a home folder runs."""
    return processes.is_running(processes.load(folder(root) / "supervisor.pid"))


def states(root: Path) -> list[ServiceState]:
    """Return the services as last seen; empty when the supervisor does not run."""
    if not running(root):
        return []
    try:
        document = json.loads((folder(root) / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [ServiceState(name, **values) for name, values in document.items()]


def _start(root: Path) -> None:
    state = folder(root)
    (state / "state.json").unlink(missing_ok=True)
    environment = {**os.environ, "CHANDLERY_HOME": str(root)}
    child, identity = processes.start(
        [*PYTHON, "chandlery.embedded.supervisor"],
        environment,
        state / "logs" / "supervisor.log",
    )
    limit = time.monotonic() + 20
    while not ((known := processes.load(state / "supervisor.pid")) and known.is_same(identity)):
        if child.poll() is not None:
            if child.returncode == 0:
                return  # another supervisor runs in this home: the caller checks again
            raise PlatformError(f"the supervisor ended: {_last_line(state)}", f"see {_log(state)}")
        if time.monotonic() > limit:
            raise PlatformError("the supervisor did not start", f"see {_log(state)}")
        time.sleep(0.02)


def _log(state: Path) -> Path:
    return state / "logs" / "supervisor.log"


def _last_line(state: Path) -> str:
    lines = _log(state).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"
