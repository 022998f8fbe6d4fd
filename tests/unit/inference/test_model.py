"""Protects: the model class keeps Seldon's contract by itself, and says so when it cannot serve."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from chandlery.errors import ModelLoadError
from chandlery.inference.model import ChandleryModel
from chandlery.inference.refusal import Refused

TABLE = np.array([["HAM", 7, 0.5], ["LEJ", 8, 30.25]])


def test_contract(make_model):
    model = make_model()
    answers = model.predict(TABLE, ["airport", "hour", "wind"], meta={})
    assert answers.tolist() == [[8.5, 0.0], [38.25, 1.0]]
    assert model.class_names() == ["minutes", "late"]
    assert model.predict({"airport": ["HAM"], "hour": [7], "wind": [0.5]}) == {
        "minutes": [8.5],
        "late": [False],
    }
    assert model.tags() == {"predictor": "v3", "model_name": "flights", "model_version": "3"}
    assert model.health_status() == [1]


def test_settings_come_from_the_environment_that_seldon_gives(make_model, monkeypatch):
    folder = make_model().folder
    monkeypatch.setenv("PREDICTIVE_UNIT_ID", "unit")
    model = ChandleryModel(model_uri=str(folder))  # as a typed parameter of the graph
    model.load()
    assert (model.name, model.version) == ("unit", "3")


def test_feedback_is_judged_and_handed_over_once(make_model):
    model = make_model()
    model.send_feedback(TABLE, [], 0.0, np.array([[8.0], [99.0]]), None)
    model.send_feedback(np.array([]), [], 0.0, np.array([]), None)
    outcomes = [metric["tags"]["outcome"] for metric in model.metrics()]
    assert outcomes == ["right", "wrong", "wrong"]
    assert model.metrics() == []


def test_feedback_on_several_targets_is_by_name(make_model):
    model = make_model("Trips")
    truth = np.array([[10.0, 99.0], [99.0, 2.0]])  # minutes and seats, in the order of the targets
    model.send_feedback(np.array([[1.0], [2.0]]), [], 0.0, truth, None)
    assert [metric["tags"]["outcome"] for metric in model.metrics()] == ["right", "wrong"]


def test_model_that_is_not_loaded_is_not_healthy(make_model):
    model = ChandleryModel(settings=make_model().settings)
    assert model.init_metadata()["inputs"][1] == {"name": "hour", "datatype": "INT64", "shape": [-1]}
    with pytest.raises(ModelLoadError, match="not loaded"):
        model.health_status()


def test_model_that_does_not_answer_does_not_load(make_model, monkeypatch):
    settings = make_model().settings
    recipe = type(make_model().recipe)
    monkeypatch.setattr(recipe, "answer", lambda self, outputs: outputs["x"])
    with pytest.raises(ModelLoadError, match="does not answer: IndexError"):
        ChandleryModel(settings=settings).load()


def test_recipe_that_refuses_an_example_row_is_served_all_the_same(make_model, monkeypatch, capsys):
    model = make_model()
    recipe, featurize = type(model.recipe), type(model.recipe).featurize

    def strict(self, rows):
        if (rows["hour"] == 11).any():
            raise KeyError("hour")
        return featurize(self, rows)

    monkeypatch.setattr(recipe, "featurize", strict)
    model.load()
    assert "not warmed up" in capsys.readouterr().out
    assert model.predict(TABLE).tolist()[0] == [8.5, 0.0]
    assert [output["name"] for output in model.outputs()] == ["minutes", "late"]


def test_refusal_is_seldons_own_exception_inside_its_wrapper(make_model, monkeypatch):
    class SeldonMicroserviceException(Exception):  # noqa: N818 - Seldon's name
        def __init__(self, message, status_code, reason):
            self.told = (message, status_code, reason)

    model = make_model()
    with pytest.raises(Refused):
        model.predict("text")
    module = types.ModuleType("seldon_core.flask_utils")
    module.SeldonMicroserviceException = SeldonMicroserviceException
    monkeypatch.setitem(sys.modules, "seldon_core", types.ModuleType("seldon_core"))
    monkeypatch.setitem(sys.modules, "seldon_core.flask_utils", module)
    with pytest.raises(SeldonMicroserviceException) as error:
        model.predict("text")
    assert error.value.told[1:] == (400, "MICROSERVICE_BAD_DATA")


def test_importing_the_class_pulls_in_no_web_framework():
    import subprocess

    program = (
        "import sys, chandlery.inference.model as m;"
        "print([n for n in ('starlette', 'uvicorn', 'orjson', 'prometheus_client', 'tensorflow', 'pandas', 'mlflow')"
        " if n in sys.modules])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.strip() == "[]"
