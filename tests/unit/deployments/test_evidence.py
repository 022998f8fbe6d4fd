"""Counts are read right from both sources, and the sources' faults are told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from chandlery.deployments.evidence import count, read_evidence
from chandlery.errors import NotFoundError, PlatformError, UserError
from chandlery.resources.counters import parse_text
from chandlery.resources.counts import Counts

TEXT = """\
# HELP seldon_api_executor_server_requests_seconds x
# TYPE seldon_api_executor_server_requests_seconds histogram
seldon_api_executor_server_requests_seconds_count{deployment_name="d",predictor_name="v1",service="predictions",code="200"} 90
seldon_api_executor_server_requests_seconds_count{deployment_name="d",predictor_name="v1",service="predictions",code="400"} 4
seldon_api_executor_server_requests_seconds_count{deployment_name="d",predictor_name="v1",service="predictions",code="503"} 6
seldon_api_executor_server_requests_seconds_count{deployment_name="d",predictor_name="v1",service="feedback",code="500"} 50
seldon_api_executor_server_requests_seconds_count{deployment_name="other",predictor_name="v1",service="predictions",code="500"} 7
seldon_api_executor_server_requests_seconds_bucket{deployment_name="d",predictor_name="v1",service="predictions",le="0.01"} 40
seldon_api_executor_server_requests_seconds_bucket{deployment_name="d",predictor_name="v1",service="predictions",le="0.05"} 70
seldon_api_executor_server_requests_seconds_bucket{deployment_name="d",predictor_name="v1",service="predictions",le="+Inf"} 94
chandlery_feedback_total{deployment_name="d",predictor_name="v1",outcome="right"} 30
chandlery_feedback_total{deployment_name="d",predictor_name="v1",outcome="wrong"} 3.0
chandlery_feedback_total{deployment_name="d",predictor_name="v2",outcome="wrong"} 1
"""


@pytest.mark.parametrize(("objective", "slow"), [(0.005, 54), (0.01, 54), (0.02, 24), (0.05, 24), (9.0, 0)])
def test_counts(objective: float, slow: int) -> None:
    assert count(parse_text(TEXT), "d", objective) == {
        "v1": Counts(requests=100, errors=6, slow=slow, judged=33, wrong=3, refused=4),
        "v2": Counts(judged=1, wrong=1),
    }


@pytest.mark.parametrize(
    ("code", "errors", "refused"),
    [("200", 0, 0), ("400", 0, 1), ("404", 0, 1), ("408", 1, 0), ("413", 0, 1), ("429", 1, 0), ("500", 1, 0)],
)
def test_a_callers_mistake_is_no_error_of_the_server(code: str, errors: int, refused: int) -> None:
    name = "seldon_api_executor_server_requests_seconds_count"
    text = f'{name}{{deployment_name="d",predictor_name="v1",service="predictions",code="{code}"}} 1\n'
    found = count(parse_text(text), "d", 0.5)["v1"]
    assert (found.requests, found.errors, found.refused) == (1, errors, refused)


def test_labels_with_quotes_and_commas() -> None:
    (sample,) = parse_text('m{a="x,y=\\"z\\"\\\\n",b="{}"} 1e3 1700000000')
    assert sample.labels == {"a": 'x,y="z"\\n', "b": "{}"}
    assert sample.value == 1000


class Source(BaseHTTPRequestHandler):
    """A gateway and a Prometheus, as far as the reader sees them."""

    queries: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/seldon/ns/d/metrics":
            self._send(200, TEXT)
        elif parts.path == "/api/v1/query":
            query = parse_qs(parts.query)["query"][0]
            self.queries.append(query)
            self._send(200, json.dumps({"status": "success", "data": {"result": self._rows(query)}}))
        elif parts.path == "/broken/api/v1/query":
            self._send(400, '{"status": "error", "error": "parse error"}')
        else:
            self._send(404, "no such page")

    def _rows(self, query: str) -> list[dict[str, object]]:
        for sample in ("_count", "_bucket", "chandlery_feedback_total"):
            if f"{sample}{{" in query:
                return [
                    {"metric": dict(s.labels), "value": [0, str(s.value)]}
                    for s in parse_text(TEXT)
                    if s.name.endswith(sample) and s.labels["deployment_name"] == "d"
                ]
        return []

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def source() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Source)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_gateway_and_prometheus_tell_the_same(source: str) -> None:
    direct = read_evidence("d", "ns", 0.01, gateway=source)
    queried = read_evidence("d", "ns", 0.01, prometheus=source)
    assert direct == queried
    assert direct["v1"] == Counts(100, 6, 54, 33, 3, 4)
    assert any('deployment_name="d"' in query and "seldon_api_executor" in query for query in Source.queries)


def test_the_environment_chooses_prometheus(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANDLERY_PROMETHEUS", source)
    Source.queries.clear()
    assert read_evidence("d", "ns", 0.01)["v1"].requests == 100
    assert Source.queries


def test_faults_are_told(source: str) -> None:
    with pytest.raises(NotFoundError, match="ns/none"):
        read_evidence("none", "ns", 0.01, gateway=source)
    with pytest.raises(PlatformError, match="parse error"):
        read_evidence("d", "ns", 0.01, prometheus=f"{source}/broken")
    with pytest.raises(PlatformError, match="is not a Prometheus server"):
        read_evidence("d", "ns", 0.01, prometheus=f"{source}/page")
    with pytest.raises(PlatformError, match="cannot be reached"):
        read_evidence("d", "ns", 0.01, gateway="http://127.0.0.1:9")
    with pytest.raises(UserError):
        read_evidence("d", "ns", 0.0, gateway=source)
