"""The services of the laptop platform: how each is started and how one sees that it is ready."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chandlery.processes import PYTHON
from chandlery.processes.ports import is_open


@dataclass(frozen=True)
class Service:
    """One supervised process.

    Attributes:
        name: service name, also of its log file.
        argv: command line.
        environment: variables on top of the supervisor's own.
        ready: returns whether it answers; called often, so it returns within about a second.
        order: services stop in descending order, all of one order together.
        grace: seconds between SIGTERM and SIGKILL.
    """

    name: str
    argv: list[str]
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    order: int = 0
    grace: float = 10.0


# In the order in which they start.
SERVICES = ("mlflow", "gateway", "deployments", "experiments")

# What each service needs of the extra `laptop` (and the model servers of `serve`).
MODULES_OF = {
    "mlflow": ("mlflow", "uvicorn", "flask"),
    "gateway": ("aiohttp",),
    "deployments": ("aiohttp", "psutil"),
    "experiments": ("optuna", "hyperopt"),
}

# What the laptop runs for a system that a component talks to. Versioned data needs no service.
SERVICES_OF = {
    "data": (),
    "experiments": ("experiments",),
    "mlflow": ("mlflow",),
    "deployments": ("mlflow", "gateway", "deployments"),  # model servers load their packages from MLflow
}


def services(home: Path, ports: Mapping[str, int]) -> list[Service]:
    """Return the platform's services for a home folder and its remembered ports."""
    from chandlery.embedded.mlflow.server import start_server_command

    mlflow, gateway = ports["mlflow"], ports["gateway"]
    command, environment = start_server_command(home, mlflow)
    return [
        Service(
            "mlflow",
            command,
            lambda: http_ready(mlflow, "/health"),
            environment=environment,
        ),
        Service(
            "gateway",
            [*PYTHON, "chandlery.embedded.gateway", "--port", str(gateway)],
            lambda: is_open(gateway),
        ),
        Service(
            "deployments",
            [*PYTHON, "chandlery.embedded.deployments"],
            lambda: True,
            # Model servers are drained when it stops, before the gateway goes.
            order=1,
            grace=30.0,
        ),
        Service("experiments", [*PYTHON, "chandlery.embedded.experiments"], lambda: True, order=1),
    ]


def endpoint_table(ports: Mapping[str, int], names: Collection[str] = SERVICES) -> dict[str, str]:
    """Return the endpoints that these services of the platform offer, by endpoint name."""
    return {name: f"http://127.0.0.1:{ports[name]}" for name in ("mlflow", "gateway") if name in names}


def service_environment(home: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """Return the environment that every service gets: this process's, with the home and its endpoints fixed."""
    table = endpoint_table(ports)
    return {
        **os.environ,
        "CHANDLERY_HOME": str(home),
        "MLFLOW_TRACKING_URI": table["mlflow"],
        "CHANDLERY_GATEWAY": table["gateway"],
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONUNBUFFERED": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def http_ready(port: int, path: str) -> bool:
    """Return whether GET `path` answers 200 on a loopback port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
