"""Bodies and headers to the model server, through its application without a socket."""

# ruff: noqa: E501

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import struct
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import strategies as st

from chandlery.inference import model as model_module
from chandlery.inference.app import create_app
from tests.loading import load_source

from .harness import JUNK, cases, nearly

SUITE = Path(__file__).parents[1] / "unit" / "inference" / "conftest.py"

PREDICTIONS = [
    {"data": {"names": ["airport", "hour", "wind"], "ndarray": [["HAM", 3, 1.5], ["LEJ", 4, None]]}},
    {
        "data": {"ndarray": [["HAM", 3, 1.5]]},
        "meta": {"puid": "p1", "tags": {"a": 1}, "requestPath": {"x": "y"}},
    },
    {"data": {"names": ["hour", "wind"], "tensor": {"shape": [2, 2], "values": [1, 2, 3, 4]}}},
    {"jsonData": {"airport": ["HAM"], "hour": [3], "wind": [1.5]}},
    {"strData": "x"},
    {"binData": "eA=="},
    {"jsonData": [{"airport": "HAM", "hour": 3, "wind": 1.5}, {"airport": "LEJ", "hour": 4, "wind": None}]},
]
INFERENCES = [
    {
        "id": "1",
        "inputs": [
            {"name": "airport", "datatype": "BYTES", "shape": [2], "data": ["HAM", "LEJ"]},
            {"name": "hour", "datatype": "INT64", "shape": [2], "data": [1, 2]},
            {"name": "wind", "datatype": "FP64", "shape": [2, 1], "data": [[1.0], [2.5]]},
        ],
        "outputs": [{"name": "minutes"}],
        "parameters": {"content_type": "np"},
    }
]
BINARY = [
    {
        "inputs": [
            {"name": "airport", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 14}},
            {"name": "hour", "datatype": "INT64", "shape": [2, 1], "parameters": {"binary_data_size": 16}},
            {"name": "wind", "datatype": "BF16", "shape": [2], "parameters": {"binary_data_size": 4}},
        ],
        "outputs": [{"name": "minutes", "parameters": {"binary_data": True}}, {"name": "late"}],
        "parameters": {"binary_data_output": True},
    }
]
RAW = b"\3\0\0\0HAM\3\0\0\0LEJ" + (7).to_bytes(8, "little") + (8).to_bytes(8, "little") + b"\x80\x3f\x80\x3f"
INVOCATIONS = [
    {"dataframe_split": {"columns": ["airport", "hour", "wind"], "index": [0], "data": [["HAM", 3, 1.5]]}},
    {
        "dataframe_records": [
            {"airport": "HAM", "hour": 3, "wind": 1.5},
            {"airport": "LEJ", "hour": 4, "wind": None},
        ]
    },
    {"inputs": {"airport": ["HAM"], "hour": [3], "wind": [1.5]}, "params": {"a": 1}},
    {"instances": [["HAM", 3, 1.5], ["LEJ", 4, None]]},
]
FEEDBACK = [
    {
        "request": PREDICTIONS[0],
        "response": {"data": {"names": ["minutes", "late"], "ndarray": [[4.0, False]]}, "meta": {"puid": "p", "requestPath": {"v3": "i"}}},
        "truth": {"data": {"ndarray": [[4.5], [3.0]]}},
        "reward": 1.0,
    },
    {"reward": 0, "truth": {"jsonData": {"minutes": [3.0]}}, "response": {"jsonData": {"minutes": [3.5]}}},
]  # fmt: skip
PATHS = {
    "/api/v1.0/predictions": PREDICTIONS,
    "/api/v0.1/predictions": PREDICTIONS,
    "/predict": PREDICTIONS,
    "/v2/models/flights/infer": INFERENCES,
    "/v2/models/flights/versions/3/infer": INFERENCES,
    "/api/v1.0/feedback": FEEDBACK,
    "/send-feedback": FEEDBACK,
    "/invocations": INVOCATIONS,
    "/v1/models/flights:predict": INVOCATIONS,
}


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Send one request to the application: `ask(method, path, body, headers)` returns status and body."""
    suite = load_source(SUITE)
    monkeypatch.setattr(model_module, "LoadedModel", suite.NumpyModel)
    folder = suite.write_package(tmp_path / "Flights", "Flights")
    settings = suite.Settings(
        model_uri=str(folder), model_name="flights", unit="flights", predictor="v3", deployment="delays"
    )
    model = suite.ChandleryModel(settings=settings)
    model.load()
    app = create_app(model, settings)
    loop = asyncio.new_event_loop()
    replica = app.state.replica
    lifespan = replica.lifespan(app)
    loop.run_until_complete(lifespan.__aenter__())

    async def call(method, path, body, headers):
        sent, messages = [], [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        route, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": route, "raw_path": route.encode("utf-8", "replace"), "root_path": "", "query_string": query.encode(),
            "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "state": {},
        }  # fmt: skip
        await app(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])

    def run(method, path, body=b"", headers=()):
        return loop.run_until_complete(asyncio.wait_for(call(method, path, body, list(headers)), 10))

    yield run
    loop.run_until_complete(lifespan.__aexit__(None, None, None))
    loop.close()


def told(path: str, status: int, content: bytes) -> None:
    assert status in (200, 400), content
    answer = json.loads(content)
    if status == 400:
        text = answer.get("error") or answer.get("message") or answer["status"]["info"]
        assert text
        assert "Traceback" not in text
        assert len(text) < 20_000


HEADERS = [(b"content-type", b"application/json")]


def body_of(document) -> bytes:
    return json.dumps(document).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "path", ["/api/v1.0/predictions", "/v2/models/flights/infer", "/api/v1.0/feedback", "/invocations"]
)
def test_any_document(ask, path):
    @cases(nearly(PATHS[path]), share=0.2)
    def case(document):
        told(path, *ask("POST", path, body_of(document), HEADERS))

    # And after all of that it answers as ever.
    status, content = ask("POST", "/predict", body_of(PREDICTIONS[0]), HEADERS)
    assert (status, json.loads(content)["data"]["ndarray"][0]) == (200, [5.5, False])


def test_any_path_method_and_header(ask, caplog):
    caplog.set_level(logging.CRITICAL)
    paths = st.sampled_from(
        [
            *PATHS,
            "/v2",
            "/v2/models/flights",
            "/v2/models/%00/ready",
            "/v2/repository/index",
            "/metrics",
            "/live",
            "/x",
            "*",
            "",
        ]
    )
    names = st.sampled_from(
        ["content-type", "content-length", "content-encoding", "x-request-id", "seldon-puid", "x-seldon-route", "x-chandlery-forwarded", "accept", "accept-encoding", "inference-header-content-length"]
    )  # fmt: skip
    values = st.binary(max_size=40) | st.sampled_from(
        [b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=a", b"identity", b"gzip", b"99999999999999999999", b"-1", b"v4"]
    )  # fmt: skip
    bodies = (
        st.binary(max_size=60)
        | nearly(PREDICTIONS).map(body_of)
        | st.sampled_from(PREDICTIONS).map(body_of).map(lambda b: b"json=" + b)
    )
    junk = st.sampled_from([quote(json.dumps(j)[:300]) for j in JUNK])

    @cases(
        st.sampled_from(["POST", "GET", "PUT", "HEAD", "OPTIONS"]),
        paths,
        st.lists(st.tuples(names, values), max_size=3),
        bodies,
        junk,
        share=0.2,
    )
    def case(method, path, headers, body, text):
        if method == "GET":
            path += f"?json={text}"
        status, content = ask(method, path, body, [(n.encode(), v) for n, v in headers])
        # 502 and 503: feedback for another predictor, and no gateway here to hand it to.
        assert status in (200, 204, 400, 404, 405, 413, 415, 502, 503), content
        assert b"Traceback" not in content


def test_any_bytes(ask):
    valid = [body_of(document) for documents in PATHS.values() for document in documents]
    cut = st.tuples(st.sampled_from(valid), st.integers(0, 400), st.integers(0, 400), st.binary(max_size=8))

    @cases(
        st.binary(max_size=200) | cut.map(lambda c: c[0][: c[1]] + c[3] + c[0][c[2] :]),
        st.sampled_from(sorted(PATHS)),
        share=0.2,
    )
    def case(body, path):
        told(path, *ask("POST", path, body, HEADERS))


def test_any_raw_tensors(ask):
    """The binary form: JSON that is nearly right, raw tensors that are cut, changed or added to, any length between."""
    path = "/v2/models/flights/infer"

    def headers(length):
        return [(b"inference-header-content-length", length)]

    @cases(
        nearly(BINARY) | st.sampled_from(BINARY),
        st.tuples(st.integers(0, 40), st.binary(max_size=6), st.integers(0, 40)) | st.just((40, b"", 40)),
        st.integers(-3, 3) | st.just(0) | st.binary(max_size=12),
        share=0.3,
    )
    def case(document, cut, length):
        head = body_of(document)
        raw = RAW[: cut[0]] + cut[1] + RAW[cut[2] :]
        told_raw = b"%d" % (len(head) + length) if isinstance(length, int) else length
        status, content = ask("POST", path, head + raw, headers(told_raw))
        assert status in (200, 400), content
        if status == 400:
            told(path, status, content)

    head = body_of(BINARY[0])
    status, content = ask("POST", path, head + RAW, headers(b"%d" % len(head)))
    assert (status, content[-10:]) == (200, struct.pack("<2f", 9.0, 9.0) + b"\0\0")


def test_any_packed_bytes(ask):
    whole = [gzip.compress(body_of(PREDICTIONS[0]), mtime=0), zlib.compress(body_of(PREDICTIONS[0]))]
    bombs = [gzip.compress(b"[" * 30_000_000, mtime=0)]
    cut = st.tuples(st.sampled_from(whole), st.integers(0, 120), st.integers(0, 120), st.binary(max_size=8))

    @cases(
        st.sampled_from(whole + bombs) | cut.map(lambda c: c[0][: c[1]] + c[3] + c[0][c[2] :]),
        st.sampled_from([b"gzip", b"deflate", b"x-gzip"]),
        share=0.2,
    )
    def case(body, encoding):
        status, content = ask("POST", "/predict", body, [*HEADERS, (b"content-encoding", encoding)])
        assert status in (200, 400, 413), content


def test_any_csv(ask):
    text = b"airport,hour,wind\nHAM,3,1.5\nLEJ,4,\n"
    cut = st.tuples(
        st.integers(0, 40),
        st.integers(0, 40),
        st.binary(max_size=8) | st.sampled_from([b'"', b",", b"\n\r", b"\0"]),
    )

    @cases(st.binary(max_size=80) | cut.map(lambda c: text[: c[0]] + c[2] + text[c[1] :]), share=0.2)
    def case(body):
        told("/invocations", *ask("POST", "/invocations", body, [(b"content-type", b"text/csv")]))
