"""Routes never lead to clusters that the gateway has not taken in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chandlery.embedded.deployments import publisher
from chandlery.embedded.deployments.publisher import Publisher
from chandlery.embedded.gateway.place import Place
from chandlery.embedded.gateway.table import Backend, Routes, Table, read_table

ROUTES = (Routes("default", "digits", (Backend("v1", 100, ("127.0.0.1:1",)),)),)
SLOW, AWAY, UP_TO_DATE = (1, 0), (-1, -1), (99, 99)


class Gateway(Publisher):
    """A publisher whose gateway tells the versions that the test says."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.told = SLOW

    async def _versions(self) -> tuple[int, int]:
        return self.told


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setattr(publisher, "_WAIT_SECONDS", 0.05)
    return Gateway(Place(tmp_path))


def test_a_gateway_that_is_slow_with_clusters_keeps_its_routes_until_it_has_them(gateway: Gateway) -> None:
    for _ in range(2):
        asyncio.run(gateway.publish(ROUTES, ""))
        assert not gateway.in_force
        assert gateway.table == read_table(gateway._place.table) == Table()
        assert not gateway._place.routes.exists()
    assert len(gateway._leaving) == 1, "tried again, not remembered again"
    gateway.told = UP_TO_DATE
    asyncio.run(gateway.publish(ROUTES, ""))
    assert gateway.in_force
    assert gateway.table.deployments == read_table(gateway._place.table).deployments == ROUTES


def test_a_gateway_that_is_away_finds_the_routes_when_it_comes(gateway: Gateway) -> None:
    gateway.told = AWAY
    asyncio.run(gateway.publish(ROUTES, ""))
    assert not gateway.in_force
    assert read_table(gateway._place.table).deployments == ROUTES
    assert gateway._place.routes.exists()
