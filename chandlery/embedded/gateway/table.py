"""The table of routes, from deployments to servers. Either gateway serves it, from a file that is replaced atomically.

The deployment controller writes it; it is also the controller's memory of what is in force.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chandlery.files import write_text

RPC_SUFFIX = "/rpc"  # of a cluster that speaks gRPC


@dataclass(frozen=True)
class Backend:
    """One predictor as the gateway sees it.

    Attributes:
        name: predictor name, `v12`.
        weight: percent of the requests; of a shadow, percent of the requests that it sees.
        endpoints: `host:port` of its ready servers.
        shadow: gets copies and never answers.
        rpc: its servers speak gRPC, or would if they ran.
        rpc_endpoints: `host:port` where its ready servers speak gRPC.
    """

    name: str
    weight: int
    endpoints: tuple[str, ...]
    shadow: bool = False
    rpc: bool = False
    rpc_endpoints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Routes:
    """The predictors of one deployment."""

    namespace: str
    name: str
    backends: tuple[Backend, ...]

    @property
    def answering(self) -> tuple[Backend, ...]:
        """Predictors that share the traffic, stable first."""
        return tuple(backend for backend in self.backends if not backend.shadow)

    @property
    def shadow(self) -> Backend | None:
        """The one that gets copies, if any."""
        return next((backend for backend in self.backends if backend.shadow), None)


@dataclass(frozen=True)
class Table:
    """All routes, with a version that only grows.

    Attributes:
        version: number of the table.
        metrics: `host:port` that answers `/seldon/<namespace>/<deployment>/metrics`; empty while there is none.
        deployments: routes by deployment, in the order of namespace and name.
    """

    version: int = 0
    metrics: str = ""
    deployments: tuple[Routes, ...] = ()


def weighted_cluster(routes: Routes, backend: Backend) -> str:
    """Name the cluster of predictions that the weights (or the mirror) sent: the evidence of a canary."""
    # Envoy starts a cluster's counters again when its servers change, and with them requests would be lost to the
    # evidence; so other servers are another cluster, and the old one stays until all that it took is counted.
    servers = hashlib.sha256(",".join(backend.endpoints).encode()).hexdigest()[:8]
    # Envoy's statistics end a cluster's name at the first dot.
    return f"{routes.namespace}/{routes.name}/{backend.name}/{servers}".replace(".", "~")


def weighted_rpc_cluster(routes: Routes, backend: Backend) -> str:
    """Name the cluster of predictions over gRPC that the weights sent: evidence too."""
    servers = hashlib.sha256(",".join(backend.rpc_endpoints).encode()).hexdigest()[:8]
    return f"{routes.namespace}/{routes.name}/{backend.name}/{servers}".replace(".", "~") + RPC_SUFFIX


def direct_rpc_cluster(routes: Routes, backend: Backend) -> str:
    """Name the cluster of every other call over gRPC."""
    return f"{weighted_rpc_cluster(routes, backend)}/direct"


def cluster_owner(cluster: str) -> tuple[str, str]:
    """Return deployment (`namespace/name`) and predictor of a weighted cluster; empty for any other."""
    parts = cluster.replace("~", ".").split("/")
    weighted = len(parts) == 4 or (len(parts) == 5 and f"/{parts[4]}" == RPC_SUFFIX)
    return (f"{parts[0]}/{parts[1]}", parts[2]) if weighted else ("", "")


def direct_cluster(routes: Routes, backend: Backend) -> str:
    """Name the cluster of everything else: feedback, health, metadata, and predictions for a named predictor."""
    return f"{weighted_cluster(routes, backend)}/direct"


def read_table(path: Path) -> Table:
    """Read the table; an absent file is an empty table."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Table()
    document: Mapping[str, Any] = json.loads(text)
    return Table(
        version=document["version"],
        metrics=document["metrics"],
        deployments=tuple(
            Routes(
                routes["namespace"],
                routes["name"],
                tuple(_backend(backend) for backend in routes["backends"]),
            )
            for routes in document["deployments"]
        ),
    )


def _backend(document: Mapping[str, Any]) -> Backend:
    lists = {name: tuple(document.get(name, ())) for name in ("endpoints", "rpc_endpoints")}
    return Backend(**{**document, **lists})


def write_table(path: Path, table: Table) -> None:
    """Replace the table."""
    write_json(path, asdict(table))


def write_json(path: Path, document: Any) -> None:
    """Replace a JSON file in one step: readers see the old one or the new one."""
    write_text(path, json.dumps(document, indent=1) + "\n")
