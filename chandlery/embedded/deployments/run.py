"""The controller as a process: one a home folder, with its metrics server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from aiohttp import web

from chandlery import addresses
from chandlery.embedded.deployments.controller import Controller
from chandlery.embedded.deployments.servers import SERVER
from chandlery.embedded.gateway.table import write_json
from chandlery.embedded.resources import open_own_store
from chandlery.errors import ChandleryError
from chandlery.processes.locks import claim_service
from chandlery.processes.ports import HOST, choose_port
from chandlery.progress import report


def main(command: Sequence[str] = SERVER) -> int:
    """Run until SIGTERM or SIGINT; return the exit code.

    Args:
        command: how a server is started.
    """
    try:
        home = addresses.home()
        lock = claim_service(
            home / "deployments" / "lock", f"a deployment controller is already running in {home}"
        )
        asyncio.run(run_controller(home, command))
        os.close(lock)
    except ChandleryError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    return 0


async def run_controller(
    home: Path, command: Sequence[str] = SERVER, stop: asyncio.Event | None = None
) -> None:
    """Keep the SeldonDeployments of a home folder running until `stop`, or SIGTERM when none is given.

    Args:
        home: the home folder.
        command: how a server is started.
        stop: ends it; the servers are stopped then.
    """
    if stop is None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    store = open_own_store("deployments controller")
    timeout = aiohttp.ClientTimeout(total=5.0, sock_connect=1.0)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        controller = Controller(store, home, session, command)
        port = _choose_metrics_port(home)
        runner = await _serve_metrics(controller, port)
        report("deployments.running", f"deployments: controller of {home} runs, metrics on port {port}")
        try:
            # When one of the two fails, both end, and the supervisor starts a controller that takes over the servers.
            async with asyncio.TaskGroup() as tasks:
                scraping = tasks.create_task(controller.scraper.run())
                await controller.run(stop, f"{HOST}:{port}")
                await controller.stop_all()
                scraping.cancel()
        finally:
            await runner.cleanup()
            store.close()


async def _serve_metrics(controller: Controller, port: int) -> web.AppRunner:
    application = web.Application()
    application.router.add_get("/seldon/{namespace}/{name}/metrics", controller.scraper.metrics)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    return runner


def _choose_metrics_port(home: Path) -> int:
    path = home / "deployments" / "metrics.json"
    remembered = json.loads(path.read_text(encoding="utf-8"))["port"] if path.exists() else 0
    port = choose_port(0, remembered)
    write_json(path, {"port": port})
    return port
