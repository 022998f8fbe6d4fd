"""Protects: HEAD, OPTIONS, unknown paths and the model repository are answered as the routes and the protocols allow."""

from __future__ import annotations

import base64

import pytest

GET = [
    "/v2",
    "/v2/health/ready",
    "/v2/models/flights",
    "/metadata",
    "/live",
    "/metrics",
    "/ping",
    "/v2/health/live",
]


@pytest.mark.parametrize("path", GET)
def test_head_is_get_without_a_body(make_client, path):
    client = make_client()
    answer = client.head(path)
    assert answer.status_code == client.get(path).status_code == 200
    assert answer.headers["content-type"] == client.get(path).headers["content-type"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v2/models/flights/infer", "OPTIONS, POST"),
        ("/api/v1.0/predictions", "OPTIONS, POST"),
        ("/invocations", "OPTIONS, POST"),
        ("/predict", "GET, HEAD, OPTIONS, POST"),
        ("/v2", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_tells_the_methods_and_grants_no_other_site(make_client, path, methods):
    client = make_client()
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    answer = client.options(path, headers=asked)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, methods, b"")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    refused = client.put(path)
    assert (refused.status_code, refused.headers["allow"]) == (405, methods)


def test_what_there_is_not(make_client):
    client = make_client()
    for path in ("/v2/models/flights/config", "/v2/nothing", "/nothing", "/v2/"):
        for answer in (client.get(path), client.options(path)):
            assert answer.status_code == 404
            assert answer.json() == {"error": "no such path; see /docs for what this server answers"}
    assert client.get("/api/v1.0/predictions").json()["status"]["code"] == 405
    assert client.get("/v2/models/flights/infer").json() == {
        "error": "GET is not allowed here; see /docs for what this server answers"
    }


def test_the_repository(make_client):
    client = make_client()
    index = client.post("/v2/repository/index", json={"ready": True})
    assert index.json() == [{"name": "flights", "version": "3", "state": "READY", "reason": ""}]
    for action in ("load", "unload"):
        answer = client.post(f"/v2/repository/models/flights/{action}", json={})
        assert answer.status_code == 400
        assert "neither loads nor unloads models" in answer.json()["error"]
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data", "model_repository"]


def test_a_column_of_one_is_a_scalar_column(make_client):
    inputs = [
        {"name": "airport", "datatype": "BYTES", "shape": [2, 1], "data": ["HAM", "LEJ"]},
        {"name": "hour", "datatype": "INT64", "shape": [2, 1], "data": [7, 8]},
        {"name": "wind", "datatype": "FP64", "shape": [2, 1], "data": [[0.5], [30.25]]},
    ]
    sent = {"inputs": inputs, "parameters": {"content_type": "pd", "trace": "7"}}
    answer = make_client().post("/v2/models/flights/infer", json=sent).json()
    assert answer["outputs"][0]["data"] == [8.5, 38.25]
    assert answer["parameters"] == {"content_type": "pd"}


def test_records_in_and_out(make_client):
    records = [{"airport": "HAM", "hour": 7, "wind": 0.5}, {"airport": "LEJ", "hour": 8, "wind": None}]
    answer = make_client().post("/api/v1.0/predictions", json={"jsonData": records}).json()
    assert answer["jsonData"] == [{"minutes": 8.5, "late": False}, {"minutes": 7.0, "late": False}]
    assert answer["meta"]["puid"]


def test_feedback_on_records(make_client):
    client = make_client()
    response = {"jsonData": [{"minutes": 8.5, "late": False}, {"minutes": 7.0, "late": False}]}
    sent = {"response": response, "truth": {"jsonData": [{"minutes": 8.0}, {"minutes": 70.0}]}}
    assert client.post("/api/v1.0/feedback", json=sent).status_code == 200
    counted = [
        line for line in client.get("/metrics").text.splitlines() if line.startswith("chandlery_feedback_t")
    ]
    assert sorted(line.rsplit(" ", 1)[1] for line in counted) == ["1.0", "1.0"]


def test_one_text_and_bytes(make_client):
    words = make_client("Words")
    for sent in ({"strData": "späte"}, {"binData": base64.b64encode("späte".encode()).decode()}):
        data = words.post("/api/v1.0/predictions", json=sent | {"meta": {"puid": "p"}}).json()["data"]
        assert data == {"names": ["minutes", "late"], "tensor": {"shape": [1, 2], "values": [5.0, 0.0]}}
    assert "not UTF-8" in words.post("/predict", json={"binData": "/w=="}).json()["status"]["info"]
    thumbs = make_client("Thumbs")
    pixels = base64.b64encode(bytes([0] * 4 + [16] * 4)).decode()
    data = thumbs.post("/predict", json={"binData": pixels}).json()["data"]
    assert data["ndarray"] == [["dark", 0.0, 0.0], ["light", 1.0, 1.0]]
    for bad, says in ((pixels[:4], "has 3 bytes; a row of 'pixels' has 4"), ("", "has 0 bytes")):
        assert says in thumbs.post("/predict", json={"binData": bad}).json()["status"]["info"]
    assert "strData is for" in thumbs.post("/predict", json={"strData": "x"}).json()["status"]["info"]
