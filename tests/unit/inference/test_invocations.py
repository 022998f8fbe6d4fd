"""Protects: who comes from `mlflow models serve` changes a URL: what it answers is answered alike."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

INVOCATIONS = "/invocations"
NAMES = ["airport", "hour", "wind"]
ROWS = [["HAM", 7, 0.5], ["LEJ", 8, 30.25]]
RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
COLUMNS = {name: [row[index] for row in ROWS] for index, name in enumerate(NAMES)}
ANSWERS = [{"minutes": 8.5, "late": False}, {"minutes": 38.25, "late": True}]

FORMS = {
    "split": {"dataframe_split": {"columns": NAMES, "index": [0, 1], "data": ROWS}},
    "split, other order": {
        "dataframe_split": {"columns": NAMES[::-1], "data": [row[::-1] for row in ROWS]},
        "params": {"a": 1},
    },
    "records": {"dataframe_records": RECORDS},
    "inputs by name": {"inputs": COLUMNS},
    "instances by name": {"instances": RECORDS},
}


def of_mlflow(model, document, kind="application/json"):
    """Return what MLflow's scoring server answers for a registered version of the same model."""
    scoring_server = pytest.importorskip("mlflow.pyfunc.scoring_server")
    from chandlery.registry.pyfunc import PackagedModel

    packaged = PackagedModel.__new__(PackagedModel)
    packaged.model = model._model
    packaged.metadata = SimpleNamespace(get_params_schema=lambda: None)
    text = document if isinstance(document, str) else json.dumps(document)
    answer = scoring_server.invocations(text, kind, packaged, None)
    assert answer.status == 200, answer.response
    return json.loads(answer.response)


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_of_mlflow(make_client, form):
    client = make_client()
    answer = client.post(INVOCATIONS, json=FORMS[form])
    assert answer.status_code == 200, answer.text
    assert answer.json() == of_mlflow(client.app.state.replica.model, FORMS[form])
    assert answer.headers["x-request-id"]


def test_csv(make_client):
    client = make_client()
    text = "hour,airport,wind\n7,HAM,0.5\n8,LEJ,30.25\n"
    for kind in ("text/csv", "text/csv; charset=utf-8"):
        answer = client.post(INVOCATIONS, content=text, headers={"content-type": kind})
        assert answer.json() == {"predictions": ANSWERS}
    assert of_mlflow(client.app.state.replica.model, text, "text/csv") == {"predictions": ANSWERS}


def test_rows_without_names(make_client):
    client = make_client()
    for document in ({"inputs": ROWS}, {"instances": ROWS}, {"dataframe_split": {"data": ROWS}}):
        assert client.post(INVOCATIONS, json=document).json() == {"predictions": ANSWERS}
    one = make_client("Trips").post(INVOCATIONS, json={"instances": [1, 2]})
    assert one.json() == {"predictions": [{"seats": 1, "minutes": 10.0}, {"seats": 2, "minutes": 20.0}]}


def test_one_answer_is_a_list(make_client, monkeypatch):
    client = make_client()
    recipe = type(client.app.state.replica.model.recipe)
    monkeypatch.setattr(recipe, "answer", lambda self, outputs: {"minutes": outputs.sum(axis=1)})
    assert client.post(INVOCATIONS, json={"instances": ROWS}).json() == {"predictions": [8.5, 38.25]}


def test_columns_whose_rows_have_a_shape(make_client):
    client = make_client("Scan")
    answers = {"predictions": [{"label": "light", "shares": [1.0, 1.0]}]}
    places = {f"pixels:{index}": 16 for index in range(4)}
    for document in (
        {"dataframe_records": [places]},
        {"dataframe_records": [{"pixels": [[16, 16], [16, 16]]}]},
        {"dataframe_split": {"columns": list(places), "data": [list(places.values())]}},
    ):
        answer = client.post(INVOCATIONS, json=document)
        assert answer.json() == answers, document
    text = ",".join(places) + "\n16,16,16,16\n"
    assert client.post(INVOCATIONS, content=text, headers={"content-type": "text/csv"}).json() == answers


def test_missing_values(make_client):
    client = make_client("Voyages")
    records = [{"port": "OSL", "crew": 7}, {"port": None, "crew": 8}, {"port": None, "crew": None}]
    minutes = [{"minutes": m, "late": False} for m in (7, 9, 0)]
    assert client.post(INVOCATIONS, json={"dataframe_records": records}).json()["predictions"] == minutes
    answer = client.post(
        INVOCATIONS, content="port,crew\nOSL,7\n,8\n,\n", headers={"content-type": "text/csv"}
    )
    assert answer.json()["predictions"] == minutes


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, "no data; send one of dataframe_split"),
        ([], "no data"),
        ({"inputs": [], "instances": []}, "instances and inputs"),
        ({"dataframe_split": []}, "dataframe_split has no data"),
        ({"dataframe_split": {"columns": NAMES, "data": [["HAM"]]}}, "does not have 3 values"),
        ({"dataframe_split": {"columns": 3, "data": ROWS}}, "not a list of names"),
        ({"dataframe_split": {"columns": ["hour"] * 3, "data": ROWS}}, "a column twice"),
        ({"dataframe_split": {"columns": ["a", "b", "c"], "data": ROWS}}, "missing 'airport'"),
        ({"dataframe_records": []}, "not a list of objects with airport: str[n]"),
        ({"dataframe_records": [RECORDS[0], {"hour": 1}]}, "dataframe_records[1] does not have 'airport'"),
        ({"instances": {}}, "expected a list of rows"),
        ({"inputs": 3}, "neither a list of rows nor lists by column name"),
        ({"inputs": [[1, 2]]}, "expected [n, 3]"),
    ],
)
def test_refusals_in_the_form_of_mlflow(make_client, document, says):
    answer = make_client().post(INVOCATIONS, json=document)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert says in answer.json()["message"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "has no row"),
        (b"airport,hour,wind\n", "has no row"),
        (b"airport,hour\nHAM,7\n", "'wind'"),
        (b"airport,hour,wind,x\nHAM,7,1,2\n", "'x'"),
        (b"airport,hour,wind,wind\nHAM,7,1,2\n", "a repeated one"),
        (b"airport,hour,wind\nHAM,7\n", "row 0 of the CSV has 2 fields"),
        (b"airport,hour,wind\nHAM,seven,1\n", "'hour'"),
        (b"airport,hour,wind\nHAM,,1\n", "'hour'"),
        (b"airport,hour,wind\nHAM,7," + b"9" * 200_000, "not CSV"),
        (b"airport,hour,wind\nHAM," + b"9" * 5000 + b",1\n", "'hour'"),
        (b'airport,hour,wind\n"HAM,7,1\n', "not CSV"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_csv_that_is_refused(make_client, text, says):
    answer = make_client().post(INVOCATIONS, content=text, headers={"content-type": "text/csv"})
    assert (answer.status_code, says in answer.json()["message"]) == (400, True), answer.text


def test_health(make_client):
    client = make_client()
    for path in ("/ping", "/health"):
        answer = client.get(path)
        assert (answer.status_code, answer.content) == (200, b"\n")
    assert client.get("/version").text
    client.app.state.replica.draining = True
    assert client.get("/ping").status_code == 503


def test_protocol_v1_of_kserve_and_tensorflow_serving(make_client):
    client = make_client()
    answer = client.post("/v1/models/flights:predict", json={"instances": ROWS})
    assert answer.json() == {"predictions": ANSWERS}
    assert client.get("/v1/models/flights").json() == {"name": "flights", "ready": True}
    assert client.get("/").json() == {"status": "alive"}
    refused = client.post("/v1/models/other:predict", json={"instances": ROWS})
    assert (refused.status_code, "no model 'other'" in refused.json()["error"]) == (404, True)
    assert "expected" in client.post("/v1/models/flights:predict", json={"instances": [[1]]}).json()["error"]
