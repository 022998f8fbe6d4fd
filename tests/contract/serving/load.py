"""A load on a deployment from a thread of its own: what came back, and from whom."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from types import TracebackType
from typing import Self

import numpy as np

from chandlery.errors import ChandleryError
from chandlery.serving.client import AsyncEndpoint

ROWS = {"x": np.array([1])}


class Load:
    """Keeps `connections` requests under way until it is left; use as `with Load(...) as load`."""

    def __init__(self, gateway: str, connections: int = 4, pause: float = 0.002) -> None:
        self._gateway = gateway
        self._connections = connections
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.routes: Counter[str] = Counter()
        self.failed: list[str] = []

    @property
    def answered(self) -> int:
        """Requests with a good answer so far."""
        return sum(self.routes.values())

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
        async with AsyncEndpoint(self._gateway, "default", "digits", deadline=10) as endpoint:
            await asyncio.gather(*(self._ask(endpoint) for _ in range(self._connections)))

    async def _ask(self, endpoint: AsyncEndpoint) -> None:
        while not self._stop.is_set():
            try:
                answer = await endpoint.predict(ROWS)
            except ChandleryError as error:
                self.failed.append(error.message)
            else:
                if answer.ok:
                    self.routes[answer.route] += 1
                else:
                    self.failed.append(f"{answer.status} {answer.route} {answer.error}")
            await asyncio.sleep(self._pause)
