"""Protects: every judged prediction is counted once, zero rewards too, by the predictor that made it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

FEEDBACK = "/api/v1.0/feedback"
ANSWER = {"data": {"names": ["minutes", "late"], "ndarray": [[8.5, 0.0], [30.0, 1.0]]}}


def samples(client, name):
    families = text_string_to_metric_families(client.get("/prometheus").text)
    return [s for family in families for s in family.samples if s.name == name]


def outcomes(client):
    return {s.labels["outcome"]: s.value for s in samples(client, "chandlery_feedback_total")}


@pytest.mark.parametrize(
    ("body", "right", "wrong"),
    [
        ({"reward": 1}, 1, 0),
        ({"reward": 0}, 0, 1),
        ({"reward": 0.5}, 1, 0),
        ({"response": ANSWER, "truth": {"data": {"ndarray": [[8.0], [99.0]]}}}, 1, 1),
        ({"response": ANSWER, "truth": [8, 29.5]}, 2, 0),
        ({"response": ANSWER, "truth": {"data": {"tensor": {"shape": [2], "values": [1, 2]}}}}, 0, 2),
        ({"response": {"jsonData": {"late": [True], "minutes": [8.5]}}, "truth": 9, "reward": 0}, 1, 0),
        ({"response": {"outputs": [{"name": "minutes", "data": [8.5]}]}, "truth": 99, "reward": 1}, 0, 1),
    ],
)
def test_outcomes(make_client, body, right, wrong):
    client = make_client()
    assert client.post(FEEDBACK, json=body).status_code == 200
    assert outcomes(client) == {"right": right, "wrong": wrong}


def test_text_answers(make_client):
    client = make_client("Scan")
    said = {"data": {"names": ["label", "shares:0", "shares:1"], "ndarray": [["dark", 0.0, 0.0]]}}
    client.post(FEEDBACK, json={"response": said, "truth": {"strData": "light"}})
    client.post("/send-feedback", json={"response": said, "truth": "dark"})
    assert outcomes(client) == {"right": 1, "wrong": 1}


def test_zero_rewards_are_counted(make_client):
    client = make_client()
    for reward in (1, 0, 0, 0.5):
        client.post(FEEDBACK, json={"reward": reward})
    (count,) = samples(client, "seldon_api_model_feedback_total")
    (total,) = samples(client, "seldon_api_model_feedback_reward_total")
    assert (count.value, total.value) == (4, 1.5)
    assert count.labels["predictor_name"] == "v3"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "neither reward nor truth"),
        ([], "not an object"),
        ({"reward": "good"}, "reward"),
        ({"reward": -1}, "reward"),
        ({"reward": True}, "reward"),
        ({"truth": 7}, "no response"),
        ({"truth": [1, 2, 3], "response": ANSWER}, "3 truths for 2 predictions"),
        ({"truth": ["x", "y"], "response": ANSWER}, "cannot be compared"),
        ({"truth": {"data": {"ndarray": [[1], [2, 3]]}}, "response": ANSWER}, "uneven"),
        ({"reward": 1, "response": 5}, "response is a number"),
    ],
)
def test_refusals_count_nothing(make_client, body, says):
    client = make_client()
    response = client.post(FEEDBACK, json=body)
    assert response.status_code == 400
    assert says in response.json()["status"]["info"]
    assert outcomes(client) == {"right": 0, "wrong": 0}
    assert samples(client, "seldon_api_model_feedback_total")[0].value == 0


@pytest.fixture
def gateway():
    """Answers as the right predictor would, and remembers what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            asked.append((self.path, dict(self.headers), orjson.loads(body)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"meta": {"tags": {"predictor": "v2"}}}')

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("how", ["header", "tag"])
def test_feedback_for_another_predictor_goes_there_once(make_client, gateway, how):
    address, asked = gateway
    client = make_client(gateway=address, namespace="team")
    body = {"reward": 1} | ({"response": {"meta": {"tags": {"predictor": "v2"}}}} if how == "tag" else {})
    headers = {"x-request-id": "r1"} | ({"x-seldon-route": "v2"} if how == "header" else {})
    response = client.post(FEEDBACK, json=body, headers=headers)
    assert response.json()["meta"]["tags"]["predictor"] == "v2"
    ((path, sent, document),) = asked
    assert path == "/seldon/team/delays/api/v1.0/feedback"
    assert (sent["x-seldon-route"], sent["x-chandlery-forwarded"], sent["x-request-id"]) == ("v2", "v3", "r1")
    assert document == body
    assert outcomes(client) == {"right": 0, "wrong": 0}


def test_forwarded_feedback_is_never_forwarded_again(make_client, gateway):
    address, asked = gateway
    headers = {"x-seldon-route": "v2", "x-chandlery-forwarded": "v3"}
    response = make_client(gateway=address).post(FEEDBACK, json={"reward": 1}, headers=headers)
    assert (response.status_code, response.json()["status"]["reason"]) == (404, "PREDICTOR_GONE")
    assert not asked


def test_no_gateway(make_client):
    headers = {"x-seldon-route": "v2"}
    assert make_client().post(FEEDBACK, json={"reward": 1}, headers=headers).status_code == 404
    dead = make_client(gateway="http://127.0.0.1:9")
    assert dead.post(FEEDBACK, json={"reward": 1}, headers=headers).status_code == 502


def test_own_feedback_with_the_header_is_counted_here(make_client):
    client = make_client(gateway="http://127.0.0.1:9")
    assert client.post(FEEDBACK, json={"reward": 1}, headers={"x-seldon-route": "v3"}).status_code == 200
    assert outcomes(client)["right"] == 1


def test_request_metrics(make_client):
    client = make_client()
    client.post("/api/v1.0/predictions", json={"jsonData": {"airport": ["HAM"], "hour": [7], "wind": [1.0]}})
    client.post("/api/v1.0/predictions", json={})
    client.post("/v2/models/flights/infer", json={})
    counts = {
        (s.labels["service"], s.labels["code"]): s.value
        for s in samples(client, "seldon_api_executor_server_requests_seconds_count")
    }
    assert counts[("predictions", "200")] == 1
    assert counts[("predictions", "400")] == 2
    (model,) = samples(client, "seldon_api_executor_client_requests_seconds_count")
    assert (
        model.labels.items()
        >= {
            "deployment_name": "delays",
            "predictor_name": "v3",
            "model_name": "flights",
            "model_version": "3",
            "method": "post",
            "code": "200",
        }.items()
    )
    bounds = {s.labels["le"] for s in samples(client, "seldon_api_executor_server_requests_seconds_bucket")}
    assert {"0.0005", "0.001", "0.0025", "0.005", "0.05"} <= bounds
    assert samples(client, "chandlery_batch_rows_sum")[0].value == 1
    assert samples(client, "chandlery_queue_requests")[0].value == 0


def test_executor_metrics_can_be_left_to_a_real_executor(make_client):
    text = make_client(executor_metrics=False).get("/metrics").text
    assert "seldon_api_executor" not in text
    assert "chandlery_feedback_total" in text
