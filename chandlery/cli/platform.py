"""`up`, `down`, `status`, `logs`, `pachd serve`: the laptop platform."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

from chandlery import addresses, platform
from chandlery.cli.output import print_json, print_table
from chandlery.errors import ChandleryError, NotFoundError
from chandlery.resources import EXPERIMENT, SELDON_DEPLOYMENT


def up() -> None:
    """Start the platform and print its endpoints."""
    home = addresses.make_home()
    platform.laptop().up(home, progress=print)
    points = addresses.endpoints()
    print_table(
        ["endpoint", "address"], [("home", home), ("mlflow", points.mlflow), ("gateway", points.gateway)]
    )
    if addresses.mlflow_password(home):
        print(
            f"MLflow asks for the user {addresses.MLFLOW_USER} and the password in {addresses.password_file(home)}"
        )


def down() -> None:
    """Stop the platform."""
    home = addresses.home()
    print("stopped" if platform.laptop().down(home) else f"the platform of {home} was not running")


def status(*, as_json: bool) -> None:
    """Print services, deployments, experiments and the last runs."""
    from chandlery.runs.record import all_runs

    points = addresses.endpoints()
    services = platform.laptop().states(points.home)
    deployments = _resources(SELDON_DEPLOYMENT, points)
    experiments = _resources(EXPERIMENT, points)
    runs = all_runs(points.home)[:5]
    if as_json:
        print_json(
            {
                "home": str(points.home),
                "services": [s.__dict__ for s in services],
                "deployments": [
                    {
                        "name": d["metadata"]["name"],
                        "predictors": {
                            p["name"]: "shadow" if p.get("shadow") else p.get("traffic", 100)
                            for p in d["spec"]["predictors"]
                        },
                        "status": d.get("status", {}),
                    }
                    for d in deployments
                ],
                "experiments": [
                    {"name": d["metadata"]["name"], "status": d.get("status", {})} for d in experiments
                ],
                "runs": [{"run_id": r.run_id, "state": r.state, "pipeline": r.pipeline} for r in runs],
            }
        )
        return
    print(f"home {points.home}\n")
    if services:
        rows = [(s.name, "ready" if s.ready else "starting", s.pid or "", s.restarts) for s in services]
        print_table(["service", "state", "pid", "restarts"], rows)
    else:
        print("the platform is down; `chandlery up` starts it")
    if deployments:
        print()
        print_table(["deployment", "state", "traffic"], [_deployment(d) for d in deployments])
    if experiments:
        print()
        print_table(["experiment", "state", "trials"], [_experiment(d) for d in experiments])
    if runs:
        print()
        print_table(["run", "state", "steps"], [(r.run_id, r.state, len(r.tasks)) for r in runs])


def logs(name: str, lines: int, *, follow: bool) -> None:
    """Print the end of a log.

    Raises:
        NotFoundError: no such service or run.
    """
    path = _log(name)
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in deque(file, maxlen=lines):
            print(line, end="")
        while follow:
            text = file.readline()
            if text:
                print(text, end="", flush=True)
            else:
                time.sleep(0.2)


def serve_pachd(address: str) -> None:
    """Serve the home's versioned data until interrupted."""
    platform.serve_data(address)


def _log(name: str) -> Path:
    from chandlery.runs.record import all_runs, runs_root

    home = addresses.home()
    if name == "last":
        runs = all_runs(home)
        if not runs:
            raise NotFoundError(f"no run yet in {home}", "`chandlery run` starts one")
        name = runs[0].run_id
    candidates = [home / "platform" / "logs" / f"{name}.log", runs_root(home) / name / "log.txt"]
    for path in candidates:
        if path.is_file() and path.resolve().is_relative_to(home):
            return path
    services = sorted(path.stem for path in (home / "platform" / "logs").glob("*.log"))
    raise NotFoundError(
        f"no log of {name!r} in {home}", f"services: {', '.join(services) or 'none yet'}; or a run id"
    )


def _resources(kind: Any, points: addresses.Endpoints) -> list[dict[str, Any]]:
    try:
        store = platform.open_resources()
    except ChandleryError:
        return []
    try:
        return store.list(kind, points.namespace)
    finally:
        store.close()


def _deployment(document: dict[str, Any]) -> tuple[str, str, str]:
    predictors = document["spec"]["predictors"]
    traffic = ", ".join(
        f"{p['name']} {'shadow' if p.get('shadow') else str(p.get('traffic', 100)) + ' %'}"
        for p in predictors
    )
    return document["metadata"]["name"], document.get("status", {}).get("state", "Creating"), traffic


def _experiment(document: dict[str, Any]) -> tuple[str, str, str]:
    from chandlery.resources.experiment_status import last_condition

    trials = document.get("status", {}).get("trials", 0)
    return document["metadata"]["name"], last_condition(document) or "Created", str(trials)
