"""Protects: a replica understands the environment that Seldon's operator gives it, and says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chandlery.errors import ModelLoadError, UserError
from chandlery.inference import source
from chandlery.inference.settings import Settings, from_environment

OPERATOR = {
    "MODEL_URI": "models:/digits/3",
    "PREDICTIVE_UNIT_ID": "digits",
    "PREDICTIVE_UNIT_IMAGE": "registry.example/chandlery-python:0.1.0",
    "PREDICTOR_ID": "v3",
    "PREDICTOR_LABELS": '{"version": "v3"}',
    "SELDON_DEPLOYMENT_ID": "digits-live",
    "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": "9001",
    "PREDICTIVE_UNIT_METRICS_SERVICE_PORT": "6000",
}


def test_operator_environment():
    settings = from_environment(OPERATOR | {"CHANDLERY_MAX_WAIT_MS": "2.5"})
    assert settings == Settings(
        model_uri="models:/digits/3",
        model_name="digits",
        unit="digits",
        image="registry.example/chandlery-python:0.1.0",
        predictor="v3",
        predictor_version="v3",
        deployment="digits-live",
        port=9001,
        metrics_port=6000,
        max_wait=0.0025,
    )


def test_prepackaged_parameter_names_the_folder():
    typed = '[{"name": "model_uri", "value": "/models/x", "type": "STRING"}]'
    assert from_environment({"PREDICTIVE_UNIT_PARAMETERS": typed}).model_uri == "/models/x"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("MODEL_URI", "", "MODEL_URI"),
        ("PREDICTIVE_UNIT_HTTP_SERVICE_PORT", "http", "not a number"),
        ("PREDICTIVE_UNIT_HTTP_SERVICE_PORT", "70000", "out of range"),
        ("CHANDLERY_MAX_BATCH", "0", "out of range"),
        ("CHANDLERY_TIMEOUT_SECONDS", "nan", "out of range"),
        ("PREDICTOR_LABELS", "{", "not JSON"),
    ],
)
def test_bad_setting(variable, value, says):
    with pytest.raises(UserError, match=says) as error:
        from_environment(OPERATOR | {variable: value})
    assert error.value.hint


def test_registered_version_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    asked = []
    monkeypatch.setattr(
        "chandlery.registry.download",
        lambda name, version: asked.append((name, version)) or tmp_path,
        raising=False,
    )
    assert source.fetch("models:/digits/3") == tmp_path
    assert asked == [("digits", "3")]
    assert source.version_of("models:/digits/3") == "3"


def test_folders_and_what_cannot_be_fetched(tmp_path: Path):
    assert source.fetch(str(tmp_path)) == tmp_path
    assert source.fetch(tmp_path.as_uri()) == tmp_path
    with pytest.raises(ModelLoadError, match="no model package"):
        source.fetch(str(tmp_path / "absent"))
    with pytest.raises(UserError, match="gs://bucket/model"):
        source.fetch("gs://bucket/model")
