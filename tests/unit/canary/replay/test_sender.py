"""A replay asks, judges by the recipe in force, feeds back, keeps its rate and its bounds, and survives bad endpoints."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from chandlery.canary.replay.sender import Replay, ReplayThread, Traffic, choose
from chandlery.deployments.client import AsyncEndpoint, DeploymentAddress
from chandlery.errors import ServingError, UserError
from chandlery.recipe import Column, Columns, split_rows
from chandlery.steps.serving.traffic import load_traffic
from tests.recipes import Answers


class Doubles(Answers):
    """The truth is twice x."""

    schema = (Column("x"), Column("y"))
    target = "y"

    def wrong(self, prediction: Any, truth: Any) -> bool:
        return abs(prediction - truth) > 0.5


ROWS = {"x": np.arange(40.0), "y": 2 * np.arange(40.0)}
TRAFFIC = Traffic({"x": ROWS["x"]}, ROWS["y"], Doubles())


@dataclass
class Server:
    """Two variants behind one address: v1 doubles, v2 answers nonsense; every fourth request goes to v2."""

    url: str = ""
    seconds: float = 0.0
    status: int = 200
    answer: str = "y"
    asked: int = 0
    under_way: int = 0
    most: int = 0
    feedback: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def predict(self, request: web.Request) -> web.Response:
        self.asked += 1
        second = self.asked % 4 == 0
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.seconds)
        self.under_way -= 1
        x = (await request.json())["jsonData"]["x"]
        values = [-1.0] if second else [2 * x[0]]
        if self.answer == "text":
            values = ["what?"]  # type: ignore[list-item]
        body = {"jsonData": {"y": values}} if self.answer else {"jsonData": {}}
        headers = {"x-seldon-route": "v2" if second else "v1"}
        return web.json_response(body, status=self.status, headers=headers)

    async def take(self, request: web.Request) -> web.Response:
        self.feedback.append((request.headers["x-seldon-route"], json.loads(await request.text())))
        return web.json_response({})


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on a free port of loopback, in a thread."""
    state, loop, ready = Server(), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        application = web.Application()
        application.router.add_post("/seldon/default/toy/api/v1.0/predictions", state.predict)
        application.router.add_post("/seldon/default/toy/api/v1.0/feedback", state.take)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        state.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        while not loop.is_closed():
            await asyncio.sleep(0.02)
            if stopped.is_set():
                await runner.cleanup()
                return

    stopped = threading.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    yield state
    stopped.set()
    thread.join(5)
    loop.close()


def run(server: Server, rate: float = 0.0, **options: Any) -> Replay:
    replay = Replay(
        AsyncEndpoint(DeploymentAddress(server.url, "default", "toy"), deadline=5.0), TRAFFIC, rate, **options
    )
    asyncio.run(replay.run(threading.Event()))
    return replay


def test_every_answer_is_judged_and_fed_back_to_whoever_gave_it(server: Server) -> None:
    result = run(server, limit=80, concurrency=4).result
    assert (result.sent, result.failed, result.unjudged) == (80, 0, 0)
    assert {name: (v.answers, v.wrong) for name, v in result.variants.items()} == {
        "v1": (60, 0),
        "v2": (20, 20),
    }
    assert Counter(route for route, _ in server.feedback) == {"v1": 60, "v2": 20}
    for route, document in server.feedback:
        assert document["reward"] == (0.0 if route == "v2" else 1.0)
        assert "truth" not in document  # else the challenger's own recipe would judge it
    assert result.quantile(0.5) > 0


def test_an_open_loop_keeps_its_rate(server: Server) -> None:
    result = run(server, rate=100.0, seconds=1.5, seed=3).result
    assert 100 <= result.sent <= 200  # 150 expected, Poisson
    assert result.late == 0


def test_the_same_seed_sends_the_same_rows(server: Server) -> None:
    rows = []
    for _ in range(2):
        server.asked, server.feedback = 0, []
        run(server, limit=12, concurrency=1, seed=5)
        rows.append([document["response"]["jsonData"]["y"] for _, document in server.feedback])
    assert rows[0] == rows[1]


def test_a_slow_endpoint_gets_fewer_requests_not_more_connections(server: Server) -> None:
    server.seconds = 0.2
    result = run(server, rate=400.0, seconds=2.0, concurrency=5).result
    assert server.most <= 5
    assert result.sent <= 60
    assert result.late > 100


@pytest.mark.parametrize(("status", "text"), [(500, "HTTP 500"), (404, "HTTP 404"), (429, "HTTP 429")])
def test_refused_requests_are_counted_and_get_no_feedback(server: Server, status: int, text: str) -> None:
    server.status = status
    result = run(server, limit=5).result
    assert (result.sent, result.failed, server.feedback) == (5, 5, [])
    assert result.errors[0].startswith(text)
    assert len(result.errors) <= 5


@pytest.mark.parametrize("answer", ["text", ""])
def test_an_answer_that_cannot_be_read_is_a_wrong_one(server: Server, answer: str) -> None:
    server.answer = answer
    result = run(server, limit=6).result
    assert sum(variant.wrong for variant in result.variants.values()) == 6


def test_an_endpoint_that_is_not_there_fails_every_request() -> None:
    endpoint = AsyncEndpoint(DeploymentAddress("http://127.0.0.1:9", "default", "toy"), deadline=2.0)
    replay = Replay(endpoint, TRAFFIC, 0.0, limit=3)
    asyncio.run(replay.run(threading.Event()))
    assert (replay.result.failed, len(replay.result.latencies)) == (3, 0)
    assert "cannot be reached" in replay.result.errors[0]


def test_beside_a_canary_it_stops_when_told(server: Server) -> None:
    replay = Replay(AsyncEndpoint(DeploymentAddress(server.url, "default", "toy")), TRAFFIC, 50.0)
    with ReplayThread(replay, on_failure=lambda: None) as thread:
        time.sleep(0.4)
    assert thread.error is None
    sent = thread.result.sent
    assert sent > 3
    time.sleep(0.1)
    assert thread.result.sent == sent
    assert len(server.feedback) == sent


def test_beside_a_canary_its_failure_is_told() -> None:
    class Broken:
        async def __aenter__(self) -> None:
            raise OSError("no more sockets")

        async def __aexit__(self, *_: object) -> None:
            return None

    told = threading.Event()
    with ReplayThread(Replay(Broken(), TRAFFIC, 1.0), on_failure=told.set) as thread:  # type: ignore[arg-type]
        assert told.wait(5)
    assert isinstance(thread.error, ServingError)
    assert "no more sockets" in thread.error.message


def test_parts_are_the_splits_of_the_recipe() -> None:
    test = choose(Doubles(), ROWS, "test", "repo@master")
    everything = choose(Doubles(), ROWS, "all", "repo@master")
    assert len(everything) == 40
    # As training splits them: by the inputs alone, so that no replayed row was trained on.
    assert set(test.requests["x"]) == set(ROWS["x"][split_rows({"x": ROWS["x"]}) == "test"])
    assert "y" not in test.requests


@pytest.mark.parametrize("rows", [{}, {"x": np.empty(0), "y": np.empty(0)}])
def test_data_without_rows_is_refused(rows: Columns) -> None:
    with pytest.raises(UserError) as caught:
        choose(Doubles(), rows, "test", "repo@master")
    assert "repo@master has no rows in its test part" in caught.value.message


RECIPE = """
from chandlery.recipe import Column, Recipe
import numpy as np

class Toy(Recipe):
    task, target, objective = "regression", "y", "mae"
    schema = (Column("x"), Column("y"))
    def load(self, root):
        x = np.loadtxt(root / "x.txt")
        return {"x": x, "y": FACTOR * x}
    def featurize(self, rows): return rows["x"]
    def build(self, parameters, features): return None
    def metrics(self, truth, outputs): return {}
    def answer(self, outputs): return {"y": outputs}
    def wrong(self, prediction, truth): return prediction != truth
"""


@pytest.mark.parametrize(
    ("repo", "part", "all_rows"),
    [("recorded", "auto", True), ("history", "auto", False), ("recorded", "test", False)],
)
def test_rows_and_labels_come_from_the_recipe_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo: str, part: str, all_rows: bool
) -> None:
    """Version 1 is champion, version 2 has labels of its own: only version 1 is asked, whoever is released."""
    for version, factor in (("1", 2), ("2", 100)):
        package = tmp_path / f"package-{version}"
        (package / "recipe").mkdir(parents=True)
        (package / "recipe/toy.py").write_text(RECIPE.replace("FACTOR", str(factor)))
        manifest = {
            "schema_version": 1, "digest": "d", "recipe": "toy.py:Toy", "recipe_digest": "r", "task": "regression",
            "parameters": {}, "inputs": [], "classes": [], "metrics": {}, "provenance": {"chandlery.data_repo": "history"},
        }  # fmt: skip
        (package / "chandlery.json").write_text(json.dumps(manifest))
    np.savetxt(tmp_path / "x.txt", np.arange(60.0))
    monkeypatch.setattr("chandlery.registry.download", lambda name, version: tmp_path / f"package-{version}")
    monkeypatch.setattr("chandlery.data.checkout", lambda repo, ref: tmp_path, raising=False)
    found = load_traffic(repo, "master", "toy", "1", part)
    assert np.array_equal(found.truth, 2 * found.requests["x"])
    assert (len(found) == 60) == all_rows
    assert len(found) > 2


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        load_traffic("repo", "master", "toy", "1", "holdout")
    assert "valid parts: auto, test" in caught.value.hint


@pytest.mark.parametrize(("rate", "concurrency"), [(-1.0, 4), (10.0, 0)])
def test_impossible_rates_are_refused(rate: float, concurrency: int) -> None:
    with pytest.raises(UserError):
        Replay(
            AsyncEndpoint(DeploymentAddress("http://127.0.0.1:9", "d", "t")),
            TRAFFIC,
            rate,
            concurrency=concurrency,
        )
