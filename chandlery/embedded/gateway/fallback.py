"""The gateway where Envoy has no wheel: the same table, routes, headers and statistics, in one Python process."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import time
import uuid
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp import web

from chandlery.embedded.gateway.envoy import (
    LATENCY_BOUNDS_MS,
    MAX_REQUEST_BYTES,
    NO_ROUTE,
    PREDICTION_PATH,
    ROUTE_CONFIG,
    TIMEOUT_SECONDS,
)
from chandlery.embedded.gateway.place import Place
from chandlery.embedded.gateway.statistics import ClusterCounts
from chandlery.embedded.gateway.table import (
    Backend,
    Routes,
    Table,
    direct_cluster,
    read_table,
    weighted_cluster,
)
from chandlery.processes.ports import HOST
from chandlery.resources.headers import REQUEST_ID, ROUTE

_POLL_SECONDS = 0.05
_TRIES = 4
_PREDICTION = re.compile(PREDICTION_PATH)
_PATH = re.compile(r"/seldon/([^/]+)/([^/]+)(/.*)")
# Of one connection, not of the message (RFC 9110, 7.6.1).
_HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "host",
    ]
)


def run(place: Place, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    asyncio.run(_run(place, port))


async def _run(place: Place, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS, sock_connect=1.0)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3.0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        proxy = Proxy(place, session)
        runners = [await _runner(proxy.application()), await _runner(proxy.administration())]
        await web.TCPSite(runners[0], HOST, port).start()
        await web.UnixSite(runners[1], str(place.admin)).start()
        place.admin.chmod(0o600)
        following = asyncio.create_task(proxy.follow())
        await stop.wait()
        following.cancel()
        for runner in runners:
            await runner.cleanup()


async def _runner(application: web.Application) -> web.AppRunner:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    return runner


class Proxy:
    """Forwards requests by the table of `place`, which it reads again when it changes."""

    def __init__(self, place: Place, session: aiohttp.ClientSession) -> None:
        self._place = place
        self._session = session
        self._table = Table()
        self._routes: dict[tuple[str, str], Routes] = {}
        self._stamp: tuple[int, int] = (0, 0)
        self._counts: dict[str, ClusterCounts] = {}
        self._mirrors: set[asyncio.Task[Any]] = set()
        self._read()

    def application(self) -> web.Application:
        """The web application that takes requests."""
        return _application(self._handle)

    def administration(self) -> web.Application:
        """Statistics in the words of Envoy."""
        application = web.Application()
        application.router.add_get("/stats", self._versions)
        application.router.add_get("/stats/prometheus", self._statistics)
        return application

    async def follow(self) -> None:
        """Read the table again whenever its file was replaced."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            self._read()

    def _read(self) -> None:
        try:
            found = self._place.table.stat()
        except FileNotFoundError:
            return
        if (found.st_ino, found.st_mtime_ns) != self._stamp:
            self._stamp = (found.st_ino, found.st_mtime_ns)
            self._table = read_table(self._place.table)
            self._routes = {(routes.namespace, routes.name): routes for routes in self._table.deployments}

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        request_id = request.headers.get(REQUEST_ID) or str(uuid.uuid4())
        match = _PATH.fullmatch(request.raw_path.partition("?")[0])
        routes = self._routes.get((match[1], match[2])) if match else None
        if match is None or routes is None:
            return _refuse(404, NO_ROUTE, "route_not_found", request_id)
        path = match[3] + ("?" + request.query_string if request.query_string else "")
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _refuse(413, "Payload Too Large", "request_payload_too_large", request_id)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        headers[REQUEST_ID] = request_id
        if match[3] == "/metrics":
            whole = request.raw_path
            return await self._forward("", (self._table.metrics,), request.method, whole, headers, body, "")
        chosen = next((b for b in routes.answering if b.name == request.headers.get(ROUTE)), None)
        weighted = chosen is None and bool(_PREDICTION.fullmatch(match[3]))
        backend = chosen or _choose(routes)
        cluster = weighted_cluster(routes, backend) if weighted else direct_cluster(routes, backend)
        shadow = routes.shadow
        if weighted and shadow and random.random() * 100 < shadow.weight:
            task = asyncio.create_task(
                self._forward(
                    weighted_cluster(routes, shadow),
                    shadow.endpoints,
                    request.method,
                    path,
                    headers,
                    body,
                    shadow.name,
                )
            )
            self._mirrors.add(task)
            task.add_done_callback(self._mirrors.discard)
        return await self._forward(
            cluster, backend.endpoints, request.method, path, headers, body, backend.name
        )

    async def _forward(
        self,
        cluster: str,
        endpoints: tuple[str, ...],
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        route: str,
    ) -> web.StreamResponse:
        began = time.perf_counter()
        order = random.sample(endpoints, len(endpoints))
        problem = "no healthy upstream"
        for attempt in range(_TRIES if order else 0):
            url = f"http://{order[attempt % len(order)]}{path}"
            try:
                async with self._session.request(method, url, headers=headers, data=body) as answer:
                    content = await answer.read()
            except TimeoutError:
                problem = "upstream request timeout"
                break
            except aiohttp.ClientConnectorError as error:
                problem = f"upstream connect error: {error}"
            except aiohttp.ClientError as error:
                # Sent, perhaps half processed: a prediction may be asked again, feedback may not.
                problem = f"upstream reset: {error or type(error).__name__}"
                if not _PREDICTION.fullmatch(path.partition("?")[0]):
                    break
            else:
                milliseconds = (time.perf_counter() - began) * 1000
                self._count(cluster, answer.status, milliseconds)
                returned = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
                returned[REQUEST_ID] = headers[REQUEST_ID]
                if route:
                    returned[ROUTE] = route
                return web.Response(status=answer.status, body=content, headers=returned)
            await asyncio.sleep(0.025 * 2**attempt)
        status = 504 if "timeout" in problem else 503
        self._count(cluster, status, None)
        return _refuse(status, problem, "upstream_failure", headers[REQUEST_ID], route)

    def _count(self, cluster: str, status: int, milliseconds: float | None) -> None:
        counts = self._counts.setdefault(cluster, ClusterCounts())
        counts.codes[str(status)] = counts.codes.get(str(status), 0) + 1
        if milliseconds is None:
            return
        counts.milliseconds += milliseconds
        for bound in (*LATENCY_BOUNDS_MS, "+Inf"):
            if bound == "+Inf" or milliseconds <= float(bound):
                counts.buckets[str(bound)] = counts.buckets.get(str(bound), 0) + 1
            else:
                counts.buckets.setdefault(str(bound), 0)

    async def _versions(self, request: web.Request) -> web.Response:
        version = self._table.version
        # Each request looks its servers up in the table, so clusters are in force as soon as they are written.
        return web.Response(
            text=f'cluster_manager.cds.version_text: "{2 * version + 2}"\n'
            f'http.gateway.rds.{ROUTE_CONFIG}.version_text: "{version}"\n'
        )

    async def _statistics(self, request: web.Request) -> web.Response:
        lines = []
        for cluster, counts in self._counts.items():
            name = f'envoy_cluster_name="{cluster}"'
            for code, number in counts.codes.items():
                lines.append(f'envoy_cluster_upstream_rq{{envoy_response_code="{code}",{name}}} {number:.0f}')
            for bound, number in counts.buckets.items():
                lines.append(f'envoy_cluster_upstream_rq_time_bucket{{{name},le="{bound}"}} {number:.0f}')
            lines.append(f"envoy_cluster_upstream_rq_time_sum{{{name}}} {counts.milliseconds}")
        return web.Response(text="\n".join(lines) + "\n")


def _application(handler: Callable[[web.Request], Any]) -> web.Application:
    application = web.Application(client_max_size=MAX_REQUEST_BYTES)
    application.router.add_route("*", "/{path:.*}", handler)
    return application


def _choose(routes: Routes) -> Backend:
    answering = routes.answering
    return random.choices(answering, weights=[backend.weight for backend in answering])[0]


def _refuse(status: int, info: str, reason: str, request_id: str, route: str = "") -> web.Response:
    body = {"error": info, "status": {"code": status, "info": info, "reason": reason, "status": "FAILURE"}}
    headers = {REQUEST_ID: request_id} | ({ROUTE: route} if route else {})
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/json", headers=headers
    )
