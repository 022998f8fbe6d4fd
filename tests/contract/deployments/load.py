"""A load on a deployment from a thread of its own: what came back, and from whom."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

import numpy as np

from chandlery.deployments.client import AsyncEndpoint, DeploymentAddress
from chandlery.errors import ChandleryError
from chandlery.recipe import Columns

ROWS = {"x": np.array([1])}


class Load:
    """Keeps `connections` requests under way until it is left; use as `with Load(...) as load`.

    Args:
        gateway: base URL of the gateway.
        connections: requests at once.
        pause: seconds that each connection rests after an answer.
        deployment: whom to ask.
        namespace: its namespace.
        rows: what to ask.
        number: requests after which it ends by itself; 0: none.
    """

    def __init__(
        self,
        gateway: str,
        connections: int = 4,
        pause: float = 0.002,
        deployment: str = "digits",
        namespace: str = "default",
        rows: Columns = ROWS,
        number: int = 0,
    ) -> None:
        self._gateway = gateway
        self._where = namespace, deployment
        self._rows = rows
        self._left = number or sys.maxsize
        self._connections = connections
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.routes: Counter[str] = Counter()
        self.failed: list[str] = []
        self.longest = 0.0  # seconds that a request took

    @property
    def answered(self) -> int:
        """Requests with a good answer so far."""
        return sum(self.routes.values())

    def finish(self, seconds: float) -> None:
        """Wait until `number` requests are answered."""
        self._thread.join(seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(30)
        if self._thread.is_alive():
            self.failed.append("a request was never answered")

    async def _run(self) -> None:
        async with AsyncEndpoint(DeploymentAddress(self._gateway, *self._where), deadline=10) as endpoint:
            await asyncio.gather(*(self._ask(endpoint) for _ in range(self._connections)))

    async def _ask(self, endpoint: AsyncEndpoint) -> None:
        while not self._stop.is_set() and self._left > 0:
            self._left -= 1
            began = time.monotonic()
            try:
                answer = await endpoint.predict(self._rows)
            except ChandleryError as error:
                self.failed.append(error.message)
            else:
                if answer.ok:
                    self.routes[answer.route] += 1
                else:
                    self.failed.append(f"{answer.status} {answer.route} {answer.error}")
            self.longest = max(self.longest, time.monotonic() - began)
            await asyncio.sleep(self._pause)
