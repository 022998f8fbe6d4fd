"""Protects: a request that the recipe refuses gets 400 and the reason in both protocols; a defect of the recipe stays 500."""

from __future__ import annotations

import sys
import types

import pytest

PREDICTIONS, INFER = "/api/v1.0/predictions", "/v2/models/flights/infer"
HURRICANE = "no flight in a hurricane; ask for wind of at most 50 m/s"


def v1(hour=7, wind=0.5):
    return {"jsonData": {"airport": ["HAM"], "hour": [hour], "wind": [wind]}}


def v2(hour=7, wind=0.5):
    return {
        "inputs": [
            {"name": "airport", "datatype": "BYTES", "shape": [1], "data": ["HAM"]},
            {"name": "hour", "datatype": "INT64", "shape": [1], "data": [hour]},
            {"name": "wind", "datatype": "FP64", "shape": [1], "data": [wind]},
        ]
    }


@pytest.mark.parametrize(
    ("wind", "why"), [(51.0, HURRICANE), (-11.0, "the wind cannot be less than calm")], ids=["rows", "answer"]
)
def test_the_reason_reaches_the_caller(make_client, wind, why):
    client = make_client("Choosy")
    refused = client.post(PREDICTIONS, json=v1(wind=wind))
    assert refused.status_code == 400
    assert refused.json()["status"]["info"] == why
    refused = client.post(INFER, json=v2(wind=wind))
    assert (refused.status_code, refused.json()) == (400, {"error": why})
    assert client.post(PREDICTIONS, json=v1()).status_code == 200
    assert client.post(INFER, json=v2()).status_code == 200


def test_another_exception_stays_a_defect(make_client):
    client = make_client("Choosy")
    assert client.post(PREDICTIONS, json=v1(hour=13)).status_code == 500
    assert client.post(INFER, json=v2(hour=13)).status_code == 500


def test_a_refused_request_spoils_no_other_of_its_batch(make_model):
    from chandlery.inference.batching import Batcher

    model = make_model("Choosy")
    batcher = Batcher(model.answers, 8, 0.0, 8, 1.0, lambda rows: None)
    good, bad = (model.rows(v1(wind=wind)["jsonData"]) for wind in (0.5, 51.0))
    outcomes = batcher._compute([good, bad, good])
    assert [type(outcome).__name__ for outcome in outcomes] == ["dict", "Refused", "dict"]
    assert (outcomes[1].status, outcomes[1].info) == (400, HURRICANE)


def test_a_model_that_refuses_the_example_is_served_all_the_same(make_model, monkeypatch, capsys):
    from chandlery.recipe import Refused

    model = make_model("Choosy")

    def answer(self, outputs):
        raise Refused("not today")

    monkeypatch.setattr(type(model.recipe), "answer", answer)
    model.load()
    assert "not warmed up: answer refuses an example row: not today" in capsys.readouterr().out


def test_inside_seldons_wrapper_it_is_a_400_too(make_model, monkeypatch):
    class SeldonMicroserviceException(Exception):  # noqa: N818 - Seldon's name
        def __init__(self, message, status_code, reason):
            self.told = (message, status_code, reason)

    module = types.ModuleType("seldon_core.flask_utils")
    module.SeldonMicroserviceException = SeldonMicroserviceException
    monkeypatch.setitem(sys.modules, "seldon_core", types.ModuleType("seldon_core"))
    monkeypatch.setitem(sys.modules, "seldon_core.flask_utils", module)
    with pytest.raises(SeldonMicroserviceException) as error:
        make_model("Choosy").predict(v1(wind=51.0)["jsonData"])
    assert error.value.told == (HURRICANE, 400, "MICROSERVICE_BAD_DATA")


def test_in_training_it_names_the_method_and_what_to_do(make_model):
    from chandlery.errors import RecipeError
    from chandlery.recipe import guarded

    model = make_model("Choosy")
    rows = model.rows(v1(wind=51.0)["jsonData"])
    with pytest.raises(RecipeError) as caught:
        guarded(model.recipe, "featurize", rows)
    assert caught.value.message == f"Choosy.featurize refused rows of the data: {HURRICANE}"
    assert "load()" in caught.value.hint
    assert caught.value.exit_code == 2
