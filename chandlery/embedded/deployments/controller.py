"""The control loop: look at the documents and at the processes, and bring the second in line with the first.

Level-triggered: each turn starts from what is on disk and what runs, so that it does not matter what was missed
while no controller ran. Changing weights alone starts and stops nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from chandlery import processes
from chandlery.embedded.deployments import plan
from chandlery.embedded.deployments.counters import Counters
from chandlery.embedded.deployments.desired import Desired, desired
from chandlery.embedded.deployments.publisher import Publisher
from chandlery.embedded.deployments.scrape import Scraper
from chandlery.embedded.deployments.servers import SERVER, Server, Servers
from chandlery.embedded.deployments.status import Count, refused, status
from chandlery.embedded.gateway.place import Place, read_address
from chandlery.embedded.gateway.table import Routes
from chandlery.errors import InvalidDocumentError, NotFoundError
from chandlery.progress import report
from chandlery.resources.port import SELDON_DEPLOYMENT, Document, ResourceStore

TURN_SECONDS = 0.05
FULL_SECONDS = 1.0  # between two whole turns while nothing changes
READY_PROBE_SECONDS = 0.1
LIVE_PROBE_SECONDS = 5.0
UNRESPONSIVE_PROBES = 3  # that fail in a row, half a minute, before a server is killed as hung

FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 30.0
CRASHES_OF_A_LOOP = 3
WELL_SECONDS = 10.0  # a server that ran this long after it was ready is not in a crash loop

# Requests that entered a connection just before the routes changed reach the server within this.
ROUTE_GRACE_SECONDS = 0.3
STOP_SECONDS = 20.0


class Controller:
    """Keeps the SeldonDeployments of one store running.

    Args:
        store: where the documents are.
        home: the home folder.
        session: HTTP session.
        command: how a server is started.
    """

    def __init__(
        self,
        store: ResourceStore,
        home: Path,
        session: aiohttp.ClientSession,
        command: Sequence[str] = SERVER,
    ) -> None:
        self._store = store
        self._session = session
        self._place = Place(home)
        self._servers = Servers(home, command)
        self._publisher = Publisher(self._place)
        self.counters = Counters(home / "deployments" / "counters.json")
        self.scraper = Scraper(self._place, session, self.counters, self._servers)
        # A store that can tell its last change cheaply spares the controller at rest from reading all documents.
        self._stamp: Callable[[], object] | None = getattr(store, "stamp", None)
        self._seen: object = None
        self._written: dict[str, tuple[str, Document]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event, metrics: str) -> None:
        """Adopt what still runs and keep everything in line until `stop`.

        Args:
            stop: ends the loop.
            metrics: `host:port` of the metrics.
        """
        self._adopt()
        whole = 0.0  # when the last whole turn was
        while not stop.is_set():
            seen = self._signs()
            if seen != self._seen or seen is None or time.monotonic() - whole >= FULL_SECONDS:
                await self.reconcile(metrics)
                self._seen, whole = seen, time.monotonic()
            else:
                self._check_servers()
            await asyncio.sleep(TURN_SECONDS)

    def _signs(self) -> object:
        """Return what would make a whole turn do something, if it changed; None while something is under way."""
        if self._stamp is None or not self._publisher.in_force:
            return None
        servers = self._servers.all.items()
        if any(server.stopping or server.restart_at or not server.ready for _, server in servers):
            return None
        return self._stamp(), tuple((slot, server.record.pid, server.running()) for slot, server in servers)

    def _adopt(self) -> None:
        routed = {e for r in self._publisher.table.deployments for b in r.backends for e in b.endpoints}
        for slot in self._servers.adopt():
            server = self._servers.all[slot]
            # It answers requests at this moment; not to be taken out until a probe has been round.
            server.ready = server.record.endpoint in routed
            server.ready_since = time.monotonic()
            report("deployments.adopted", f"took over the running server {slot}")

    async def reconcile(self, metrics: str) -> None:
        """Look once, and do what is to be done."""
        documents = self._documents()
        wanted: dict[str, Desired] = {}
        wrong: dict[str, str] = {}
        for key, document in documents.items():
            try:
                wanted[key] = desired(document)
            except InvalidDocumentError as error:
                wrong[key] = str(error)
        self.counters.follow({key: document["metadata"]["uid"] for key, document in documents.items()})
        self._check_servers()
        target = self._target(wanted, wrong)
        self._make_missing(wanted)
        await self._publisher.publish(tuple(target.values()), metrics)
        self._restart(wanted, target)
        self._retire(wanted, target, wrong)
        for key, document in documents.items():
            self._report_status(document, wanted.get(key), target.get(key), wrong.get(key, ""))

    async def stop_all(self) -> None:
        """Stop every server: they finish what is in flight."""
        for server in list(self._servers.all.values()):
            self._begin_stop(server, grace=0.0)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _documents(self) -> dict[str, Document]:
        return {
            _key(document): document
            for document in self._store.list(SELDON_DEPLOYMENT, "")
            if "deletionTimestamp" not in document["metadata"]
        }

    def _target(self, wanted: dict[str, Desired], wrong: dict[str, str]) -> dict[str, Routes]:
        before = {f"{r.namespace}/{r.name}": r for r in self._publisher.table.deployments}
        target: dict[str, Routes] = {}
        for key in sorted(wanted.keys() | wrong.keys()):
            if key in wrong:
                found = before.get(key)  # a document that cannot be served changes nothing
            else:
                found = plan.routes(wanted[key], before.get(key), self._of(key))
            if found is not None:
                target[key] = found
        return target

    def _of(self, key: str) -> list[Server]:
        return [s for s in self._servers.all.values() if f"{s.record.namespace}/{s.record.deployment}" == key]

    def _make_missing(self, wanted: dict[str, Desired]) -> None:
        for deployment in wanted.values():
            for predictor in deployment.predictors:
                for index in range(predictor.replicas):
                    parts = (
                        deployment.namespace,
                        deployment.name,
                        predictor.name,
                        predictor.digest,
                        index,
                    )
                    server = self._servers.all.get("/".join(map(str, parts)))
                    if server is None:
                        server = self._servers.make(*parts, predictor.environment)
                        report(
                            "deployments.started",
                            f"{deployment.name}/{predictor.name}: server {index} starts on port {server.record.port}",
                        )

    def _check_servers(self) -> None:
        """Notice deaths, and begin the probes that are due."""
        now = time.monotonic()
        for slot, server in list(self._servers.all.items()):
            if server.stopping:
                continue
            if not server.running():
                if server.restart_at == 0.0:
                    self._handle_death(server, now)
            elif slot not in self._tasks:
                self._probe_soon(slot, server)

    def _handle_death(self, server: Server, now: float) -> None:
        if server.ready and now - server.ready_since > WELL_SECONDS:
            server.crashes = 0
        server.crashes += 1
        server.ready = False
        pause = min(FIRST_BACKOFF_SECONDS * 2 ** (server.crashes - 1), LONGEST_BACKOFF_SECONDS)
        server.restart_at = now + pause
        code = server.child.returncode if server.child else None
        server.problem = _problem(server, code)
        report("deployments.died", server.problem.partition("\n")[0], slot=server.record.slot)

    def _probe_soon(self, slot: str, server: Server) -> None:
        task = asyncio.create_task(self._probe(server))
        self._tasks[slot] = task
        task.add_done_callback(lambda _: self._tasks.pop(slot, None))

    async def _probe(self, server: Server) -> None:
        process = server.record.pid
        path = "live" if server.ready else "ready"
        well = await self._answers(server, path)
        if server.record.pid != process or server.stopping:
            return
        if not server.ready and well and server.running():
            server.ready, server.ready_since, server.problem = True, time.monotonic(), ""
            report(
                "deployments.ready",
                f"{server.record.deployment}/{server.record.predictor}: server {server.record.index} is ready",
            )
        server.unresponsive = 0 if well or not server.ready else server.unresponsive + 1
        if server.unresponsive >= UNRESPONSIVE_PROBES:
            report("deployments.hung", f"{server.record.slot}: does not answer any more; killed")
            self._servers.signal(server, signal.SIGKILL)
        await asyncio.sleep(LIVE_PROBE_SECONDS if server.ready else READY_PROBE_SECONDS)

    async def _answers(self, server: Server, what: str) -> bool:
        url = f"http://{server.record.endpoint}/v2/health/{what}"
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=5.0)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _restart(self, wanted: dict[str, Desired], target: dict[str, Routes]) -> None:
        now = time.monotonic()
        for server in list(self._servers.all.values()):
            record = server.record
            key = f"{record.namespace}/{record.deployment}"
            deployment = wanted.get(key)
            late = next(
                (
                    p.progress_seconds
                    for p in (deployment.predictors if deployment else ())
                    if p.name == record.predictor
                    and not server.ready
                    and now - server.started > p.progress_seconds
                ),
                None,
            )
            if late and server.running():
                report("deployments.late", f"{record.slot}: not ready after {late:.0f} s; killed")
                self._servers.signal(server, signal.SIGKILL)
            due = server.restart_at and now >= server.restart_at and not server.stopping
            if due and plan.keeps(record, deployment, target.get(key), self._of(key)):
                server.restart_at = 0.0
                self._servers.start(server)

    def _retire(self, wanted: dict[str, Desired], target: dict[str, Routes], wrong: dict[str, str]) -> None:
        """Stop what is neither asked for nor routed, once the gateway applies routes without it."""
        routed = {e for r in target.values() for b in r.backends for e in b.endpoints}
        gateway_runs = self._gateway_runs()
        for server in list(self._servers.all.values()):
            record = server.record
            key = f"{record.namespace}/{record.deployment}"
            if server.stopping or key in wrong:
                continue
            if plan.keeps(record, wanted.get(key), target.get(key), self._of(key)):
                continue
            if record.endpoint in routed or (gateway_runs and not self._publisher.in_force):
                continue
            self._begin_stop(server, grace=ROUTE_GRACE_SECONDS if server.ready else 0.0)

    def _gateway_runs(self) -> bool:
        address = read_address(self._place)
        return address is not None and processes.runs(address.pid)

    def _begin_stop(self, server: Server, grace: float) -> None:
        slot = server.record.slot
        probing = self._tasks.pop(slot, None)
        if probing is not None and not server.stopping:
            probing.cancel()
        if server.stopping:
            return
        server.stopping = True
        name = f"stop {slot}"
        task = asyncio.create_task(self._stop(server, grace))
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._stop_ended(name, server, done))

    def _stop_ended(self, name: str, server: Server, task: asyncio.Task[None]) -> None:
        self._tasks.pop(name, None)
        if not task.cancelled() and (error := task.exception()):
            report("deployments.not-stopped", f"{server.record.slot}: not stopped, tried again: {error}")
            server.stopping = False

    async def _stop(self, server: Server, grace: float) -> None:
        await asyncio.sleep(grace)
        await self.scraper.last_scrape(server)
        self._servers.signal(server, signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while server.running():
            if time.monotonic() > end:
                self._servers.signal(server, signal.SIGKILL)
            await asyncio.sleep(0.02)
        self._servers.forget(server)
        report(
            "deployments.stopped",
            f"{server.record.deployment}/{server.record.predictor}: server {server.record.index} stopped",
        )

    def _report_status(
        self, document: Document, wanted: Desired | None, routes: Routes | None, wrong: str
    ) -> None:
        """Write the status when it has changed."""
        key = _key(document)
        before: dict[str, Any] = document.get("status") or {}
        if wanted is None:
            found = refused(document, wrong)
        else:
            found = self._status(wanted, before, routes)
        if found == before:
            return
        metadata = {k: document["metadata"][k] for k in ("name", "namespace", "uid")}
        with contextlib.suppress(NotFoundError):
            self._store.update_status(
                {
                    "apiVersion": document["apiVersion"],
                    "kind": document["kind"],
                    "metadata": metadata,
                    "status": found,
                }
            )
        if found["state"] != before.get("state"):
            report(
                "deployments.state", f"{key}: {found['state']} {found['description'].partition(chr(10))[0]}"
            )

    def _status(self, wanted: Desired, before: dict[str, Any], routes: Routes | None) -> Document:
        servers = self._of(f"{wanted.namespace}/{wanted.name}")
        counts = {
            p.name: Count(
                p.replicas,
                sum(
                    s.ready and s.record.predictor == p.name and s.record.digest == p.digest for s in servers
                ),
            )
            for p in wanted.predictors
        }
        digests = {(p.name, p.digest) for p in wanted.predictors}
        failures = sorted(
            s.problem
            for s in servers
            if s.crashes >= CRASHES_OF_A_LOOP
            and not s.ready
            and (s.record.predictor, s.record.digest) in digests
        )
        rolled_out = all(plan.complete(p, servers) for p in wanted.predictors)
        asked = {p.name: (p.weight, p.shadow) for p in wanted.predictors}
        routed = {b.name: (b.weight, b.shadow) for b in routes.backends} if routes else None
        in_force = self._publisher.in_force
        address = read_address(self._place)
        return status(
            wanted,
            before,
            counts=counts,
            failures=failures,
            weights={b.name: b.weight for b in routes.answering} if routes and in_force else None,
            complete=rolled_out and routed == asked and in_force,
            url=f"{address.url}/seldon/{wanted.namespace}/{wanted.name}" if address else "",
            waiting_for=_waiting_for(counts, servers, in_force) if not (rolled_out and in_force) else "",
        )


def _waiting_for(counts: dict[str, Count], servers: list[Server], in_force: bool) -> str:
    short = [f"{name} {c.available}/{c.replicas}" for name, c in counts.items() if c.available < c.replicas]
    if not short:
        return "" if in_force else "the gateway does not apply the routes yet"
    problems = sorted(s.problem.partition("\n")[0] for s in servers if s.problem and not s.ready)
    return "waiting for servers: " + ", ".join(short) + (f"; {problems[0]}" if problems else "")


def _key(document: Document) -> str:
    return f"{document['metadata']['namespace']}/{document['metadata']['name']}"


def _problem(server: Server, code: int | None) -> str:
    """Return why a server ended: one line, its last own line, and where its log is."""
    if code is None:
        how = "ended"
    elif code < 0:
        how = f"was killed by signal {-code}"
    else:
        how = f"exited with {code}"
    text = f"predictor {server.record.predictor}: its server {how} ({server.crashes}x)"
    lines = server.last_lines()[-2:]
    if lines:
        text += f": {lines[0]}"
    return "\n".join([text, *lines[-1:], f"log: {server.record.log}"])
