"""Protects: several processes behind one port are one server: counted together, drained together, and none is left over."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import time
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.slow]
PREDICTIONS = "/api/v1.0/predictions"
ROW = {"data": {"ndarray": [[float(i % 17) for i in range(64)]]}}
LIGHT = {"CHANDLERY_RUNTIME": "litert", "CHANDLERY_WORKERS": "2", "CHANDLERY_DRAIN_DELAY_SECONDS": "0.1"}


def ask(replica: Any, path: str = PREDICTIONS, document: Any = ROW) -> tuple[int, Any]:
    """Ask on a connection of its own: the kernel gives each to one of the workers."""
    connection = http.client.HTTPConnection("127.0.0.1", replica.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", path, json.dumps(document), {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def text(replica: Any, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", replica.port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def counted(replica: Any) -> int:
    (line,) = re.findall(
        r'^seldon_api_executor_server_requests_seconds_count{.*code="200".*predictions.*} (\S+)$',
        text(replica, "/prometheus"),
        re.MULTILINE,
    )
    return int(float(line))


def workers(replica: Any) -> list[psutil.Process]:
    return psutil.Process(replica.process.pid).children()


def until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def listening(replica: Any) -> int:
    return sum(
        any(c.laddr.port == replica.port and c.status == "LISTEN" for c in worker.net_connections("tcp"))
        for worker in workers(replica)
    )


@pytest.fixture
def pair(start, package, tmp_path):
    replica = start(package, CHANDLERY_REQUEST_LOG=str(tmp_path / "log"), **LIGHT)
    until(lambda: listening(replica) == 2)
    yield replica
    replica.process.kill()


def test_all_answer_and_are_counted_as_one(pair, tmp_path):
    for _ in range(100):
        assert ask(pair)[0] == 200
    assert {counted(pair) for _ in range(10)} == {100}, "whichever worker is asked"
    time.sleep(1)
    logs = list((tmp_path / "log").glob("*.jsonl"))
    lines = [len(path.read_text().splitlines()) for path in logs]
    assert len(lines) == 2
    assert sum(lines) == 100


def test_feedback_counts_once_whoever_answered(pair):
    answers = [ask(pair)[1] for _ in range(10)]
    for _ in range(2):
        for answer in answers:
            status, said = ask(pair, "/api/v1.0/feedback", {"response": answer, "reward": 1.0})
            assert status == 200, said
        time.sleep(1)  # the others have read the request log then
    (line,) = re.findall(
        r"^seldon_api_model_feedback_total{.*} (\S+)$", text(pair, "/prometheus"), re.MULTILINE
    )
    assert float(line) == 10


def test_a_worker_that_dies_starts_again_and_its_counts_stay(pair):
    for _ in range(40):
        ask(pair)
    before = counted(pair)
    workers(pair)[0].kill()
    until(lambda: "it starts again in 1 s" in pair.log.read_text())
    assert counted(pair) == before
    until(lambda: listening(pair) == 2)
    assert ask(pair)[0] == 200
    assert counted(pair) == before + 1


def test_all_drain_and_end_together(pair):
    running = workers(pair)
    pair.process.send_signal(signal.SIGTERM)
    assert pair.process.wait(20) == 0
    assert not any(worker.is_running() and worker.status() != "zombie" for worker in running)
    assert pair.log.read_text().count("stopped") == 2


def test_workers_end_when_their_supervisor_is_killed(pair):
    running = workers(pair)
    pair.process.kill()
    until(lambda: not any(w.is_running() and w.status() != "zombie" for w in running))


@pytest.mark.parametrize("given", ["auto", "2"])
def test_a_model_that_does_not_load_ends_all(start, package, tmp_path, given):
    replica = start(
        package, wait=False, MODEL_URI=str(tmp_path), CHANDLERY_WORKERS=given, CHANDLERY_RUNTIME="litert"
    )
    assert replica.process.wait(30) == 1
    assert "is not a model package" in replica.log.read_text()


def test_a_taken_port_is_told(start, package, pair):
    replica = start(package, wait=False, port=pair.port, **LIGHT)
    assert replica.process.wait(30) == 1
    assert "cannot listen on" in replica.log.read_text()


def test_auto_chooses_by_measurement_and_says_so(start, package):
    replica = start(package, **LIGHT | {"CHANDLERY_WORKERS": "auto"})
    said = re.search(r"(\d+) workers?: (.*)", replica.log.read_text())
    assert said is not None
    until(lambda: listening(replica) == int(said[1]))
    assert "cores: a call takes" in said[2] or "GPUs" in said[2] or int(said[1]) == 1
