"""Puts a table of routes in force: clusters before the routes that need them, and away when their last request is counted."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import aiohttp

from chandlery.embedded.gateway.envoy import TIMEOUT_SECONDS, clusters, write_clusters, write_routes
from chandlery.embedded.gateway.place import Place, read_address
from chandlery.embedded.gateway.statistics import read_versions
from chandlery.embedded.gateway.table import Routes, Table, read_table, write_table

_POLL_SECONDS = 0.004
_WAIT_SECONDS = 3.0
_RETRY_SECONDS = 0.5
_SURE_SECONDS = 5.0
# By then the last request of a cluster without a route has ended, and the counters have been read once more.
_LINGER_SECONDS = TIMEOUT_SECONDS + 5.0
_AWAY = (-1, -1)


class Publisher:
    """Writes the gateway's files and knows what it applies.

    Args:
        place: files of the gateway.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.table: Table = read_table(place.table)
        self.in_force = False
        self._asked = 0.0
        self._gateway = 0  # process of the gateway that was asked last
        self._leaving: list[tuple[float, Table]] = []  # until when, and whose clusters

    async def publish(self, deployments: tuple[Routes, ...], metrics: str) -> None:
        """Make `deployments` the routes; returns when they are in force, or the gateway does not answer or is slow.

        To be called again each turn: what could not be put in force is tried again.

        Args:
            deployments: all routes.
            metrics: `host:port` of the metrics.
        """
        before = self.table
        if (before.deployments, before.metrics) == (deployments, metrics):
            await self._confirm()
            self._let_go()
            return
        target = Table(before.version + 1, metrics, deployments)
        self.in_force = False
        if clusters(before) != clusters(target):
            if all(left is not before for _, left in self._leaving):
                self._leaving.append((time.monotonic() + _LINGER_SECONDS, before))
            self._write_clusters(2 * target.version, target)
            if not await self._wait(2 * target.version, 0) and await self._versions() != _AWAY:
                return  # slow, such as on a full disk: routes to clusters that are not there would answer 503
        write_table(self._place.table, target)
        write_routes(self._place, target)
        self.table = target
        self.in_force = await self._wait(0, target.version)

    def _let_go(self) -> None:
        """Drop the clusters that have been without a route for long enough."""
        if self._leaving and self._leaving[0][0] < time.monotonic():
            self._leaving.pop(0)
            self._write_clusters(2 * self.table.version + 1, self.table)

    def _write_clusters(self, version: int, table: Table) -> None:
        write_clusters(self._place, version, *(left for _, left in self._leaving), table)

    async def _confirm(self) -> None:
        """Look again whether a gateway that was away applies the table now."""
        address = read_address(self._place)
        gateway = address.pid if address else 0
        # One that applies the table goes on to, until another process takes its place.
        pause = _SURE_SECONDS if self.in_force and gateway and gateway == self._gateway else _RETRY_SECONDS
        if time.monotonic() - self._asked < pause:
            return
        self._asked, self._gateway = time.monotonic(), gateway
        _, routes = await self._versions()
        if routes != self.table.version and self.in_force:
            # It was started again, on files that are as new as the table.
            self.in_force = False
        elif routes > self.table.version or (0 < routes < self.table.version):
            # The files differ from the table: this process died between writing the one and the other.
            newer = max(routes, self.table.version) + 1
            self.table = replace(self.table, version=newer)
            self._write_clusters(2 * newer, self.table)
            write_table(self._place.table, self.table)
            write_routes(self._place, self.table)
            self.in_force = await self._wait(0, newer)
        else:
            self.in_force = routes == self.table.version

    async def _wait(self, cluster_version: int, route_version: int) -> bool:
        end = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < end:
            found = await self._versions()
            if found == _AWAY:
                return False
            if found[0] >= cluster_version and found[1] >= route_version:
                return True
            await asyncio.sleep(_POLL_SECONDS)
        return False

    async def _versions(self) -> tuple[int, int]:
        """Return the versions in force, `_AWAY` when the gateway does not answer."""
        address = read_address(self._place)
        if address is None:
            return _AWAY
        try:
            return await read_versions(address.admin)
        except (aiohttp.ClientError, TimeoutError):
            return _AWAY
