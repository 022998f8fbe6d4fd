"""What must be true after every round, whatever was killed, filled or cut in it."""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil

from chandlery import platform, processes

from .house import House

SETTLE_SECONDS = 240.0  # until every service is ready again and every deployment available
ONE_CHUNK = 1_000_000  # bytes; the hash of a smaller file is that of its one chunk
SAMPLE = 3  # commits of earlier rounds that are read again


@dataclass
class Ledger:
    """What earlier rounds left, to be found again.

    Attributes:
        commits: digest of the content by `repo@commit`.
    """

    commits: dict[str, str] = field(default_factory=dict)


def settle(house: House) -> list[str]:
    """Bring the platform up, as the next command would, and wait until all is as asked for."""
    limit = time.monotonic() + SETTLE_SECONDS
    platform.laptop().up(house.home, deadline=SETTLE_SECONDS)
    while True:
        wrong = [*_services(house), *deployments(house), *leftovers(house), *ports(house)]
        if not wrong or time.monotonic() > limit:
            return wrong
        time.sleep(0.2)


def check(house: House, ledger: Ledger, dice: random.Random) -> list[str]:
    """Return what is wrong, nothing when all is well."""
    wrong = settle(house)
    parts: list[Callable[[], list[str]]] = [lambda: commits(ledger, dice), versions]
    return wrong + [found for part in parts for found in part()]


def _services(house: House) -> list[str]:
    states = platform.laptop().states(house.home)
    return [f"{state.name} is not ready" for state in states if not state.ready] or (
        [] if states else ["no service runs"]
    )


def commits(ledger: Ledger, dice: random.Random) -> list[str]:
    """Every commit finished and without an error, readable, its hashes right, as it was in earlier rounds."""
    from pachyderm_sdk.api import pfs

    from chandlery import data

    wrong: list[str] = []
    with data.connect() as client:
        for repo in client.pfs.list_repo():
            where = repo.repo.name
            for info in client.pfs.list_commit(repo=repo.repo):
                name = f"{where}@{info.commit.id}"
                if not info.finished or info.finished.timestamp() <= 0 or info.error:
                    wrong.append(f"{name} is unfinished or in error: {info.error!r}")
                    continue
                known = ledger.commits.get(name)
                if known is not None and dice.random() > SAMPLE / len(ledger.commits):
                    continue
                content = hashlib.sha256()
                for file in client.pfs.walk_file(file=pfs.File(commit=info.commit, path="/")):
                    if file.file_type != pfs.FileType.FILE:
                        continue
                    data_read = client.pfs.pfs_file(file.file).read()
                    content.update(file.file.path.encode() + data_read)
                    if len(data_read) != file.size_bytes:
                        wrong.append(
                            f"{name}:{file.file.path} has {len(data_read)} bytes, not {file.size_bytes}"
                        )
                    if len(data_read) < ONE_CHUNK and bytes(file.hash) != _pfs_hash(data_read):
                        wrong.append(f"{name}:{file.file.path} has another hash than its content")
                if known not in (None, content.hexdigest()):
                    wrong.append(f"{name} is not what it was")
                ledger.commits[name] = content.hexdigest()
            for branch in client.pfs.list_branch(repo=repo.repo):
                if f"{where}@{branch.head.id}" not in ledger.commits and branch.head.id:
                    wrong.append(
                        f"{where}@{branch.branch.name} has head {branch.head.id}, which cannot be read"
                    )
    return wrong


def _pfs_hash(content: bytes) -> bytes:
    def digest(part: bytes) -> bytes:
        return hashlib.blake2b(part, digest_size=32).digest()

    return digest(digest(content)) if content else digest(b"")


def versions() -> list[str]:
    """One version for one digest, all of them complete, and aliases on versions that exist."""
    from chandlery.registry.versions import find, model_aliases

    wrong: list[str] = []
    found = find({}, incomplete=True)
    digests = Counter((info.name, info.digest) for info in found)
    wrong += [
        f"{name}: {count} versions of {digest}" for (name, digest), count in digests.items() if count > 1
    ]
    wrong += [f"{info.uri} is {info.state}" for info in found if info.state != "complete"]
    for model in {info.name for info in found}:
        have = {info.version for info in found if info.name == model}
        wrong += [
            f"alias {alias} of {model} points to version {version}, which does not exist"
            for alias, version in model_aliases(model).items()
            if version not in have
        ]
    return wrong


def deployments(house: House) -> list[str]:
    """Servers that run are those asked for, and the weights that the gateway applies are those asked for."""
    from chandlery.deployments.deployment import observe
    from chandlery.embedded.deployments.desired import desired
    from chandlery.embedded.deployments.servers import marked_processes
    from chandlery.resources import SELDON_DEPLOYMENT

    wrong: list[str] = []
    store = platform.open_resources()
    slots: set[str] = set()
    asked: dict[str, dict[str, int]] = {}
    try:
        for document in store.list(SELDON_DEPLOYMENT, ""):
            wanted = desired(document)
            seen = observe(store, wanted.name, wanted.namespace)
            if not seen.ready:
                wrong.append(
                    f"deployment {wanted.name} is {seen.state}: {seen.description}; in force {seen.in_force}"
                )
            slots |= {
                f"{wanted.namespace}/{wanted.name}/{p.name}/{p.digest}/{index}"
                for p in wanted.predictors
                for index in range(p.replicas)
            }
            asked[f"{wanted.namespace}/{wanted.name}"] = dict(seen.wanted)
    finally:
        store.close()
    running = set(marked_processes(house.home))
    if running != slots:
        wrong.append(f"servers: {sorted(running - slots)} too many, {sorted(slots - running)} missing")
    applied = _applied(house)
    if applied != asked:
        wrong.append(f"the gateway applies {applied}, asked for {asked}")
    return wrong


def _applied(house: House) -> dict[str, dict[str, int]]:
    """Read the weights of predictions by deployment from the gateway itself."""
    from chandlery.embedded.gateway.place import Place, read_address

    address = read_address(Place(house.home))
    if address is None:
        return {}
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=address.admin), timeout=5) as client:
            dump = client.get("http://admin/config_dump").json()
    except (httpx.HTTPError, ValueError):
        return {}
    found: dict[str, dict[str, int]] = {}
    for route in _routes(dump):
        share = route.get("route", {}).get("weighted_clusters", {}).get("clusters", [])
        for cluster in share:
            match = re.fullmatch(r"([^/]+/[^/]+)/([^/]+)(?:/[0-9a-f]{8})?", cluster["name"])
            if match:
                found.setdefault(match[1], {})[match[2]] = cluster["weight"]
    return found


def _routes(dump: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        route
        for config in dump.get("configs", [])
        for entry in config.get("dynamic_route_configs", [])
        for host in entry.get("route_config", {}).get("virtual_hosts", [])
        for route in host.get("routes", [])
    ]


def leftovers(house: House) -> list[str]:
    """No process of the platform but its services, its model servers, and what the test itself serves."""
    from chandlery.embedded.deployments.servers import marked_processes

    supervisor = processes.load(house.home / "platform" / "supervisor.pid")
    known = {supervisor.pid} if supervisor else set()
    known |= {state.pid for state in platform.laptop().states(house.home)}
    known |= {process.pid for process in marked_processes(house.home).values()}
    known |= {process.pid for process in house.started}
    return [
        f"orphan {kind}: process {process.pid}"
        for kind, some in house.processes().items()
        for process in some
        if process.pid not in known
    ]


def ports(house: House) -> list[str]:
    """Every port that one of our processes listens on is one that the platform knows, and the endpoints' are served."""
    ours = {process.pid: kind for kind, some in house.processes().items() for process in some}
    known = _known_ports(house)
    listening = {
        connection.laddr.port: connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.pid in ours
    }
    wrong = [
        f"port {port} of {ours[pid]} is known to nobody"
        for port, pid in listening.items()
        if port not in known
    ]
    return wrong + [
        f"nobody serves {what} on port {port}" for port, what in known.items() if port not in listening
    ]


def _known_ports(house: House) -> dict[int, str]:
    def read(*parts: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(house.home.joinpath(*parts).read_text())
        except (OSError, ValueError):
            found = {}
        return found

    known = {port: name for name, port in read("platform", "ports.json").items()}
    known |= {read("deployments", "metrics.json").get("port", 0): "metrics"}
    for path in (house.home / "deployments" / "servers").glob("*.json"):
        known[read("deployments", "servers", path.name).get("port", 0)] = path.stem
    known.pop(0, None)
    return known
