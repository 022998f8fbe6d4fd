"""Protects: both protocols answer in their own form, and refuse in their own form what they cannot answer."""

from __future__ import annotations

import json

import pytest

ROW = {"airport": ["HAM"], "hour": [7], "wind": [0.5]}
TABLE = {"data": {"names": ["airport", "hour", "wind"], "ndarray": [["HAM", 7, 0.5], ["LEJ", 8, 30.25]]}}
PREDICTIONS = "/api/v1.0/predictions"
INFER = "/v2/models/flights/infer"


def tensor(name, datatype, data, shape=None):
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def infer(**changes):
    inputs = {
        "airport": tensor("airport", "BYTES", ["HAM", "LEJ"]),
        "hour": tensor("hour", "INT64", [7, 8]),
        "wind": tensor("wind", "FP64", [0.5, 30.25]),
    } | changes
    return {"inputs": [entry for entry in inputs.values() if entry]}


def test_v1_ndarray(make_client):
    response = make_client().post(PREDICTIONS, json=TABLE | {"meta": {"puid": "p1", "tags": {"mine": 1}}})
    assert response.status_code == 200
    assert response.json() == {
        "data": {"names": ["minutes", "late"], "ndarray": [[8.5, 0.0], [38.25, 1.0]]},
        "meta": {
            "puid": "p1",
            "tags": {"mine": 1, "predictor": "v3", "model_name": "flights", "model_version": "3"},
            "requestPath": {"flights": "chandlery-python:1.2"},
        },
    }


def test_v1_tensor_and_text_answer(make_client):
    client = make_client("Scan")
    sent = {"data": {"tensor": {"shape": [2, 4], "values": [0, 0, 0, 0, 16, 16, 16, 16]}}}
    answer = client.post("/predict", json=sent).json()["data"]
    assert answer == {
        "names": ["label", "shares:0", "shares:1"],
        "ndarray": [["dark", 0.0, 0.0], ["light", 1.0, 1.0]],
    }


def test_v1_tensor_answer(make_client, monkeypatch):
    client = make_client("Scan")
    recipe = client.app.state.replica.model.recipe
    monkeypatch.setattr(type(recipe), "answer", lambda self, outputs: {"ink": outputs.sum(axis=1)})
    sent = {"data": {"tensor": {"shape": [1, 2, 2], "values": [1, 2, 3, 4]}}}
    assert client.post("/predict", json=sent).json()["data"]["tensor"] == {"shape": [1, 1], "values": [10.0]}


def test_v1_json_data(make_client):
    response = make_client().post(PREDICTIONS, json={"jsonData": ROW | {"wind": [None]}})
    assert response.json()["jsonData"] == {"minutes": [7.0], "late": [False]}


@pytest.mark.parametrize(
    "sent",
    [
        {"jsonData": {"port": ["OSL", None, None], "crew": [7, 8, None]}},
        {"data": {"ndarray": [["OSL", 7], [None, 8], [None, None]]}},
        {"data": {"names": ["crew", "port"], "ndarray": [[7, "OSL"], [8, None], [None, None]]}},
    ],
)
def test_v1_missing_texts_and_whole_numbers(make_client, sent):
    answer = make_client("Voyages").post(PREDICTIONS, json=sent)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    minutes = (
        found["jsonData"]["minutes"] if "jsonData" in sent else [row[0] for row in found["data"]["ndarray"]]
    )
    assert minutes == [7, 9, 0]


def test_v2_missing_texts_and_whole_numbers(make_client):
    def ask(crew, port=("OSL", None, None), kind="INT64"):
        inputs = [tensor("port", "BYTES", list(port)), tensor("crew", kind, crew)]
        return make_client("Voyages").post(INFER, json={"inputs": inputs})

    for kind in ("INT64", "INT8", "FP64"):
        answer = ask([7, 8, None], kind=kind)
        assert answer.status_code == 200, answer.text
        assert answer.json()["outputs"][0]["data"] == [7, 9, 0]
    for crew in ([7, 8.5, None], [7, 2**60, None], ["7", 8, None], [7, 2**70, None]):
        assert ask(crew).status_code == 400, crew
    assert ask([1, 2, 3], port=["OSL", None, 4]).status_code == 400


def test_nothing_is_missing_where_it_may_not_be(make_client):
    for change in ({"airport": [None]}, {"hour": [None]}):
        answer = make_client().post(PREDICTIONS, json={"jsonData": ROW | change})
        assert answer.status_code == 400
        assert next(iter(change)) in answer.json()["status"]["info"]
    for entry in (tensor("airport", "BYTES", ["HAM", None]), tensor("hour", "INT64", [7, None])):
        answer = make_client().post(INFER, json=infer(**{entry["name"]: entry}))
        assert answer.status_code == 400
        assert "missing" in answer.json()["error"]


def test_v1_as_the_executor_of_old_asks(make_client):
    client = make_client()
    form = client.post("/predict", data={"json": json.dumps(TABLE)})
    query = client.get("/predict", params={"json": json.dumps(TABLE)})
    curl = client.post(
        "/predict",
        content=json.dumps(TABLE),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert form.json()["data"] == query.json()["data"] == curl.json()["data"]
    assert form.status_code == 200


def test_v2(make_client):
    client = make_client()
    response = client.post("/v2/models/flights/versions/3/infer", json=infer() | {"id": "r1"})
    assert response.json() == {
        "model_name": "flights",
        "model_version": "3",
        "id": "r1",
        "outputs": [
            {"name": "minutes", "datatype": "FP32", "shape": [2], "data": [8.5, 38.25]},
            {"name": "late", "datatype": "BOOL", "shape": [2], "data": [False, True]},
        ],
    }
    chosen = client.post(INFER, json=infer() | {"outputs": [{"name": "late"}]}).json()["outputs"]
    assert [output["name"] for output in chosen] == ["late"]


def test_v2_single_input_of_another_name(make_client):
    sent = {"inputs": [tensor("input-0", "FP32", [16] * 8, [2, 4])]}
    outputs = make_client("Scan").post(INFER, json=sent).json()["outputs"]
    assert outputs[0] == {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["light", "light"]}
    assert outputs[1]["shape"] == [2, 2]


def test_v2_float_is_taken_as_the_precision_it_names(make_client):
    client = make_client()
    once = client.post(INFER, json=infer(wind=tensor("wind", "FP32", [0.1, 0.1]))).json()
    assert once["outputs"][0]["data"][0] == pytest.approx(8.1, abs=1e-6)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "no data"),
        ([1], "a list"),
        ("x", "text"),
        ({"data": {}}, "nothing; expected ndarray or tensor"),
        ({"data": {"tftensor": {}}}, "tftensor"),
        ({"data": {"ndarray": 5}}, "a number"),
        ({"data": {"ndarray": [["HAM", 7, 0.5], ["LEJ"]]}}, "uneven"),
        (
            {"data": {"ndarray": [["HAM", 7]]}},
            "expected [n, 3]: airport: str[n], hour: int64[n], wind: float64[n]",
        ),
        ({"data": {"ndarray": []}}, "expected [n, 3]"),
        ({"data": {"ndarray": [["HAM", "seven", 0.5]]}}, "'hour'"),
        ({"data": {"ndarray": [["HAM", 7.5, 0.5]]}}, "whole numbers"),
        ({"data": {"names": ["a", "b", "c"], "ndarray": [["HAM", 7, 0.5]]}}, "'a'"),
        ({"data": {"names": 3, "ndarray": []}}, "data.names"),
        ({"data": {"tensor": {"shape": [2, 2], "values": [1, 2, 3]}}}, "do not make shape [2, 2]"),
        ({"data": {"tensor": {"shape": [-1, 3], "values": [1, 2, 3]}}}, "whole numbers"),
        ({"data": {"tensor": {"shape": [1], "values": [[1]]}}}, "flat list"),
        ({"data": {"tensor": {"shape": [9] * 40, "values": []}}}, "shape"),
        (
            {"strData": "x"},
            "strData is for a recipe with one column of texts; expected airport: str[n], hour",
        ),
        ({"binData": "eA=="}, "binData is for a recipe with one column of texts or bytes"),
        ({"strData": 3}, "strData is a number; expected text"),
        ({"binData": "%"}, "binData is not base64"),
        ({"customData": {}}, "customData is not supported"),
        ({"jsonData": [{"hour": 1}, {"our": 1}]}, "jsonData[1] does not have 'hour', unlike"),
        ({"jsonData": [{"hour": 1}, 3]}, "jsonData[1] is a number"),
        ({"jsonData": [{"hour": 1}]}, "missing 'airport'"),
        ({"jsonData": [1]}, "lists by column name"),
        ({"jsonData": {"hour": [7]}}, "missing 'airport'"),
        ({"jsonData": ROW | {"extra": [1]}}, "unknown column 'extra'"),
        ({"jsonData": ROW | {"hour": [7, 8]}}, "2 rows where others have 1"),
        ({"jsonData": ROW | {"hour": 7}}, "shape ()"),
        ({"jsonData": ROW | {"hour": [2**70]}}, "'hour'"),
        ({"jsonData": {"airport": [], "hour": [], "wind": []}}, "'airport'"),
        ({"meta": 3, "data": {"ndarray": []}}, "request.meta"),
    ],
)
def test_v1_refusals(make_client, body, says):
    response = make_client().post(PREDICTIONS, json=body)
    assert response.status_code == 400
    status = response.json()["status"]
    assert says in status["info"]
    assert (status["code"], status["status"], status["reason"]) == (400, "FAILURE", "MICROSERVICE_BAD_DATA")


def test_a_long_text_among_many_takes_no_memory(make_client):
    """A request of 1 MB whose array would take 7 GB."""
    client = make_client("Voyages")
    ports = ["x" * 1_000_000] + [""] * 2000
    crew = [1] * len(ports)
    for body in (
        {"jsonData": {"port": ports, "crew": crew}},
        {"data": {"ndarray": [list(row) for row in zip(ports, crew, strict=True)]}},
    ):
        answer = client.post(PREDICTIONS, json=body)
        assert answer.status_code == 400
        assert "has a text of 1000000 characters among" in answer.json()["status"]["info"]
    answer = client.post(
        INFER, json={"inputs": [tensor("port", "BYTES", ports), tensor("crew", "INT64", crew)]}
    )
    assert answer.status_code == 400
    alone = client.post(PREDICTIONS, json={"jsonData": {"port": ports[:1], "crew": [1]}})
    assert alone.status_code == 200


def test_lists_deeper_than_any_array(make_client):
    deep = "[" * 900 + '"x"' + "]" * 900
    body = f'{{"data": {{"ndarray": {deep}}}}}'.encode()
    answer = make_client().post(PREDICTIONS, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "no list of inputs"),
        ({"inputs": [3]}, "inputs[0]"),
        ({"inputs": [{"name": "hour"}]}, "no shape"),
        (infer(hour=tensor("hour", "INT128", [7, 8])), "valid: BOOL"),
        (infer(hour=tensor("hour", "INT64", [7.5, 8])), "INT64"),
        (infer(hour=tensor("hour", "INT8", [700, 8])), "INT8"),
        (infer(hour=tensor("hour", "BYTES", [7, 8])), "BYTES"),
        (infer(hour=tensor("hour", "FP32", ["7", "8"])), "FP32"),
        (infer(hour=tensor("hour", "FP32", [None, {}])), "neither number nor text"),
        (infer(hour={"name": "hour", "shape": [2], "datatype": "INT64"}), "no data"),
        (infer(hour=tensor("hour", "INT64", [7, 8, 9], [2])), "do not make shape [2]"),
        (infer(hour=tensor("hour", "INT64", [7, 8], [1, 2])), "shape (1, 2)"),
        (infer(hour=tensor("hour", "BF16", [7, 8])), "BF16, which JSON does not have"),
        (
            infer(
                hour={
                    "name": "hour",
                    "shape": [2],
                    "datatype": "INT64",
                    "parameters": {"shared_memory_region": "r"},
                }
            ),
            "shared_memory_region, an extension",
        ),
        (infer() | {"outputs": [{"name": "late"}, {"name": "late"}]}, "names an output twice"),
        (
            infer() | {"outputs": [{"name": "late", "parameters": {"classification": 1}}]},
            "classification, an ext",
        ),
        (
            infer() | {"outputs": [{"name": "late", "parameters": {"binary_data": 1}}]},
            "neither true nor false",
        ),
        (infer() | {"parameters": 3}, "parameters of the request are not an object"),
        (infer(wind=None), "missing 'wind'"),
        (infer(again=tensor("hour", "INT64", [7, 8])), "there twice"),
        (infer() | {"outputs": [{"name": "luck"}]}, "no output 'luck'; the outputs are minutes, late"),
        (infer() | {"outputs": 3}, "outputs"),
        (infer() | {"id": 3}, "id"),
    ],
)
def test_v2_refusals(make_client, body, says):
    response = make_client().post(INFER, json=body)
    assert response.status_code == 400
    assert says in response.json()["error"]


def test_what_is_not_json(make_client):
    client = make_client()
    for content in (b"", b"{", b"\xff\xfe", b"NaN", b"[" * 5000):
        response = client.post(PREDICTIONS, content=content)
        assert (response.status_code, response.json()["status"]["status"]) == (400, "FAILURE")
    assert client.post(PREDICTIONS, content=b"x", headers={"content-encoding": "br"}).status_code == 415
    assert client.post(PREDICTIONS, files={"json": "{}"}).status_code == 415


def test_large_bodies_are_refused_while_they_stream(make_client):
    client = make_client(max_body=1000)

    def chunks():
        for _ in range(50):
            yield b" " * 1000

    for content in (b" " * 50_000, chunks()):
        response = client.post(PREDICTIONS, content=content)
        assert response.status_code == 413
        assert "larger than 1000 bytes" in response.json()["status"]["info"]
    assert client.post(PREDICTIONS, json=TABLE).status_code == 200


def test_recipe_that_raises_is_our_fault_and_shows_no_traceback(make_client):
    response = make_client().post(PREDICTIONS, json={"jsonData": ROW | {"hour": [13]}})
    assert response.status_code == 500
    assert response.json()["status"]["info"] == "the model raised ValueError: thirteen is bad luck"
    assert response.json()["status"]["reason"] == "MICROSERVICE_INTERNAL_ERROR"


def test_unforeseen_error_tells_the_caller_nothing(make_client, monkeypatch, capsys):
    client = make_client()
    monkeypatch.setattr(client.app.state.replica.batcher, "submit", lambda *_: 1 / 0)
    response = client.post(PREDICTIONS, json=TABLE)
    assert response.status_code == 500
    assert "ZeroDivisionError" not in response.text
    assert "ZeroDivisionError" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v2/models/other/infer", "no model 'other'; this server has 'flights'"),
        ("/v2/models/flights/versions/9/infer", "no version '9'; this server has 3"),
    ],
)
def test_other_models_and_versions(make_client, path, says):
    response = make_client().post(path, json=infer())
    assert response.status_code == 404
    assert response.json()["error"] == says


def test_metadata(make_client):
    client = make_client()
    v2 = client.get("/v2/models/flights").json()
    assert v2["versions"] == ["3"]
    assert v2["inputs"][1] == {
        "name": "hour",
        "datatype": "INT64",
        "shape": [-1],
        "parameters": {"description": "", "nullable": False, "minimum": 0, "maximum": 23},
    }
    assert [output["name"] for output in v2["outputs"]] == ["minutes", "late"]
    v1 = client.get("/metadata").json()
    assert v1["inputs"][0] == {"name": "airport", "datatype": "BYTES", "shape": [-1]}
    assert v1["custom"]["task"] == "regression"
    assert client.get("/v2").json()["name"] == "chandlery"
    assert client.get("/v2/models/other").status_code == 404


def test_health_and_drain(make_client):
    client = make_client()
    ready = (
        "/health/status",
        "/api/v1.0/health/status",
        "/v2/health/ready",
        "/v2/models/flights/ready",
        "/ready",
    )
    live = ("/health/ping", "/live", "/v2/health/live")
    assert {client.get(path).status_code for path in ready + live} == {200}
    client.app.state.replica.draining = True
    assert {client.get(path).status_code for path in ready} == {503}
    assert {client.get(path).status_code for path in live} == {200}
    answer = client.post(PREDICTIONS, json=TABLE)  # what is on its way is still answered
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")


def test_every_answer_says_who_gave_it(make_client):
    client = make_client()
    for body in (TABLE, {}):
        response = client.post(PREDICTIONS, json=body, headers={"x-request-id": "mine"})
        assert response.headers["x-request-id"] == "mine"
        assert response.headers["x-model-version"] == "3"
        assert response.headers["x-seldon-route"] == "v3"
    assert len(client.post(PREDICTIONS, json=TABLE).headers["x-request-id"]) == 32
    forged = client.post(PREDICTIONS, json=TABLE, headers={"x-request-id": "x" * 200})
    assert len(forged.headers["x-request-id"]) == 32


def test_request_log(make_client, tmp_path):
    client = make_client(request_log=tmp_path / "requests")
    client.post(PREDICTIONS, json=TABLE, headers={"x-request-id": "a"})
    client.post(PREDICTIONS, json={}, headers={"x-request-id": "b"})
    client.get("/metadata")
    client.app.state.replica.log.flush()
    (path,) = (tmp_path / "requests").iterdir()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["request_id"], line["rows"], line["status"]) for line in lines] == [
        ("a", 2, 200),
        ("b", 0, 400),
    ]
    assert path.name.startswith("v3-")
    assert lines[0]["model_version"] == "3"
    assert lines[0]["predictor"] == "v3"


FEEDBACK = {"response": {"meta": {"tags": {"predictor": "v3"}}}, "reward": 1.0}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example", "content-type": "text/plain"}, 415),
        ({"origin": "null", "content-type": "application/x-www-form-urlencoded"}, 415),
        ({"sec-fetch-site": "cross-site", "content-type": "application/json"}, 403),
        ({"sec-fetch-site": "same-site", "content-type": "text/plain"}, 403),
    ],
)
@pytest.mark.parametrize("path", [PREDICTIONS, "/api/v1.0/feedback", "/send-feedback"])
def test_a_web_page_of_another_site_sends_nothing(make_client, path, headers, status):
    client = make_client()
    body = json.dumps(TABLE if path == PREDICTIONS else FEEDBACK)
    assert client.post(path, content=body, headers=headers).status_code == status
    assert "chandlery_feedback_total{" not in client.get("/metrics").text or "1.0" not in [
        line.rsplit(" ", 1)[1]
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("chandlery_feedback_total{")
    ]


def test_feedback_is_never_taken_by_get(make_client):
    client = make_client()
    assert client.get("/send-feedback", params={"json": json.dumps(FEEDBACK)}).status_code == 405
    assert client.post("/send-feedback", json=FEEDBACK).status_code == 200


def test_a_client_that_is_not_a_browser_may_send_what_it_likes(make_client):
    client = make_client()
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"content-type": kind} if kind else {}
        assert client.post(PREDICTIONS, content=json.dumps(TABLE), headers=headers).status_code == 200
