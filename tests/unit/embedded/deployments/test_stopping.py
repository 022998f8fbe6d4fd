"""A server that is to stop does stop, whatever else goes wrong meanwhile."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from chandlery import platform
from chandlery.embedded.deployments.controller import Controller
from chandlery.embedded.deployments.servers import Servers, marked_processes


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def stop_all(home: Path, spoil: Callable[[Controller], None], times: int) -> None:
    """Have a controller take over a server and stop everything, some times, after it was spoilt."""

    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            controller = Controller(platform.open_resources(), home, session)
            stop = asyncio.Event()
            stop.set()
            await controller.run(stop, "127.0.0.1:1")
            spoil(controller)
            for _ in range(times):
                await controller.stop_all()

    asyncio.run(run())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    Servers(tmp_path, ("sleep", "60")).make("default", "letters", "v1", "0" * 16, 0, {})
    deadline = time.monotonic() + 10  # for a moment after exec, the kernel shows no environment
    while not marked_processes(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(marked_processes(tmp_path)) == [f"default/letters/v1/{'0' * 16}/0"]
    return tmp_path


def test_a_full_disk_costs_the_counters_written_and_not_the_stop(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stop_all(home, lambda controller: monkeypatch.setattr(controller.counters, "save", full_disk), 1)

    assert not marked_processes(home)
    assert "the counters cannot be written" in capfd.readouterr().out


def test_a_stop_that_failed_is_tried_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(controller: Controller) -> None:
        real = controller.scraper.last_scrape
        answers = [full_disk]

        async def last_scrape(server: object) -> None:
            if answers:
                answers.pop()()
            await real(server)  # type: ignore[arg-type]

        monkeypatch.setattr(controller.scraper, "last_scrape", last_scrape)

    stop_all(home, spoil, 2)
    assert not marked_processes(home)
