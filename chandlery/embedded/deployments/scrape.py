"""Collects the counters of gateway and servers, and answers for a deployment's metrics."""

from __future__ import annotations

import asyncio
import contextlib
import time

import aiohttp
from aiohttp import web

from chandlery.embedded.deployments.counters import Counters
from chandlery.embedded.deployments.servers import Server, Servers
from chandlery.embedded.gateway.place import Place, read_address
from chandlery.embedded.gateway.statistics import read_counts
from chandlery.progress import report
from chandlery.resources.counters import FEEDBACK, parse_text

EVERY_SECONDS = 1.0
FRESH_SECONDS = 0.2


class Scraper:
    """Reads the sources once a second, and on each request.

    Args:
        place: files of the gateway.
        session: HTTP session.
        counters: where the counts go.
        servers: the servers to read.
    """

    def __init__(
        self, place: Place, session: aiohttp.ClientSession, counters: Counters, servers: Servers
    ) -> None:
        self._place = place
        self._session = session
        self._counters = counters
        self._servers = servers
        self._lock = asyncio.Lock()
        self._looked = 0.0
        self._unsaved = False

    async def run(self) -> None:
        """Look once a second."""
        while True:
            await self.scrape()
            await asyncio.sleep(EVERY_SECONDS)

    async def scrape(self) -> None:
        """Read every source, unless that was just done."""
        async with self._lock:
            if time.monotonic() - self._looked < FRESH_SECONDS:
                return
            if self._servers.all:  # without a server no request was answered
                await self._gateway()
            ready = [s for s in self._servers.all.values() if s.ready and not s.stopping]
            await asyncio.gather(*(self._feedback(server) for server in ready))
            self._save()
            self._looked = time.monotonic()

    async def last_scrape(self, server: Server) -> None:
        """Read a server that is about to stop, and the gateway while it still knows its cluster."""
        async with self._lock:
            await self._gateway()
            if server.ready:
                await self._feedback(server)
            self._counters.forget_process(_process(server))
            self._save()

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer `GET /seldon/<namespace>/<deployment>/metrics`."""
        await self.scrape()
        text = self._counters.text(f"{request.match_info['namespace']}/{request.match_info['name']}")
        if text is None:
            return web.Response(status=404, text="no such deployment\n")
        return web.Response(text=text, content_type="text/plain", charset="utf-8")

    def _save(self) -> None:
        # A full disk must not end the looking, nor keep a server from being stopped: the totals stay in memory, and are
        # written with the next look.
        try:
            self._counters.save()
        except OSError as error:
            if not self._unsaved:
                report("deployments.unsaved", f"the counters cannot be written, tried again: {error}")
            self._unsaved = True
        else:
            self._unsaved = False

    async def _gateway(self) -> None:
        address = read_address(self._place)
        if address is None:
            return
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            self._counters.add_gateway(address.pid, await read_counts(address.admin))

    async def _feedback(self, server: Server) -> None:
        process, record = _process(server), server.record
        try:
            async with self._session.get(
                f"http://{record.endpoint}/prometheus", timeout=aiohttp.ClientTimeout(total=2.0)
            ) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return
        if _process(server) != process:
            return
        found: dict[str, float] = {}
        for line in text.splitlines():
            for sample in parse_text(line) if line.startswith(FEEDBACK) else ():
                outcome = sample.labels.get("outcome", "")
                found[outcome] = found.get(outcome, 0.0) + sample.value
        self._counters.add_feedback(
            process, f"{record.namespace}/{record.deployment}", record.predictor, found
        )


def _process(server: Server) -> str:
    return f"{server.record.slot}#{server.record.pid}#{server.record.created:.2f}"
