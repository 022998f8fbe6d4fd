"""The life of a serving process: uvicorn on a socket that is bound already, and a drain before it stops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Generator

import uvicorn

from chandlery.inference.app import Replica, create_app
from chandlery.inference.guard import Guard
from chandlery.inference.model import ChandleryModel
from chandlery.inference.settings import Settings
from chandlery.inference.workers import LIFELINE_VARIABLE
from chandlery.progress import report

SWITCH_SECONDS = 0.0005
KEEP_ALIVE_SECONDS = 620  # longer than proxies keep a connection, so that the proxy closes it
SPARE_DESCRIPTORS = 256  # for the model, the request log and gRPC, beside the connections
SEND_BYTES = 128 * 1024  # of an answer that the kernel keeps for one client (it takes twice as much)
TICKS_A_SECOND = 10  # of uvicorn's main loop


def serve(model: ChandleryModel, settings: Settings, listener: socket.socket, worker: int = 0) -> None:
    """Serve until SIGTERM or SIGINT, then drain: fail readiness, finish what is in flight, stop.

    Args:
        model: a loaded model.
        settings: how to serve it.
        listener: bound socket.
        worker: number of this process among the workers of a server, from 0.
    """
    # TensorFlow's import leaves about a million objects, and a full collection over them stops the server for a
    # quarter of a second; they live as long as the process, so they are taken out of its sight.
    gc.collect()
    gc.freeze()
    # The model's thread asks for the interpreter after each call; at the default of 5 ms it would wait longer for the
    # event loop to let go than the call took.
    sys.setswitchinterval(SWITCH_SECONDS)
    app = create_app(model, settings, _start_rpc if settings.grpc_port else None)
    if settings.metrics_port and settings.metrics_port != settings.port and worker == 0:
        from prometheus_client import start_http_server

        start_http_server(settings.metrics_port, settings.host, app.state.replica.metrics.of_all())
    guard = Guard(
        min(settings.max_connections, _descriptors() - SPARE_DESCRIPTORS),
        settings.max_held,
        settings.max_body,
        settings.read_seconds,
        KEEP_ALIVE_SECONDS,
        app.state.replica.metrics.refused,
    )
    # Left to itself the kernel takes 4 MB of answers for each client that does not read, and nobody notices.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
    config = uvicorn.Config(
        app,
        http=guard.protocol(),
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=max(1, round(settings.grace)),
    )
    _Server(config, app.state.replica, guard, settings.drain_delay).run(sockets=[listener])


async def _start_rpc(replica: Replica) -> Callable[[], Awaitable[None]]:
    # here: a server that speaks HTTP alone starts faster and smaller without it
    from chandlery.inference import rpc

    return await rpc.start(replica)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, replica: Replica, guard: Guard, drain_delay: float) -> None:
        super().__init__(config)
        self._replica = replica
        self._guard = guard
        self._drain_delay = drain_delay

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_A_SECOND == 0:
            self._guard.sweep()
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain)
        lifeline = os.environ.get(LIFELINE_VARIABLE)
        if lifeline:
            loop.add_reader(int(lifeline), self._orphaned, int(lifeline))
        yield

    def _orphaned(self, lifeline: int) -> None:
        """Drain when the supervisor is gone: nobody else would stop this worker."""
        asyncio.get_running_loop().remove_reader(lifeline)
        if not self._replica.draining:
            self._drain()

    def _drain(self) -> None:
        if self._replica.draining:
            self.should_exit = True  # a second signal: do not wait for the gateway
            return
        report("server.draining", f"draining: {len(self._replica.batcher)} requests wait")
        self._replica.draining = True
        asyncio.get_running_loop().call_later(self._drain_delay, setattr, self, "should_exit", True)


def _descriptors() -> int:
    import resource

    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1 << 20)
