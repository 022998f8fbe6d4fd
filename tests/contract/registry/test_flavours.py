"""A registered version is read by MLflow's own loaders, each through its flavour."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from chandlery import frameworks
from chandlery.frameworks.sklearn import SklearnModel
from chandlery.frameworks.xgboost import XGBoostModel
from chandlery.model import LoadedModel, read_manifest, save_model
from chandlery.provenance import Provenance
from chandlery.recipe import load_recipe
from chandlery.registry import download, version_info
from chandlery.registry.download import fetch
from chandlery.registry.register import register
from chandlery.registry.submission import Submission

pytestmark = pytest.mark.slow
X = np.arange(20, dtype="float32")[:, None]


@pytest.fixture
def keras_submission(submit: Any, tmp_path: Path) -> Submission:
    """A submission whose package holds a model of Keras."""
    import keras

    given: Submission = submit()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    loaded = load_recipe(f"{given.package}/recipe/recipe.py:Line")
    manifest = save_model(tmp_path / "keras" / "model", model, loaded, {}, {"mae": 0.1}, Provenance())
    record = given.record.with_(model_digest=manifest.digest)
    return replace(given, package=tmp_path / "keras" / "model", manifest=manifest, record=record)


@pytest.fixture
def own_submission(submit: Any) -> Callable[[Any], Submission]:
    """A submission whose package holds a model of another framework."""

    def make(model: Any) -> Submission:
        labels = X[:, 0] * 2
        list(model.fit(X, labels, validation=(X, labels), seed=0) or [])
        given: Submission = submit()
        (given.package / "model.keras").unlink()
        shutil.rmtree(given.package / "saved_model")
        document = json.loads((given.package / "chandlery.json").read_text())
        document["framework"] = frameworks.save(model, given.package / "model")
        (given.package / "chandlery.json").write_text(json.dumps(document))
        return given

    return make


def test_pyfunc_answers_as_the_package_does(mlflow: str, keras_submission: Submission) -> None:
    import mlflow as client
    import pandas as pd

    name = keras_submission.name
    done = register(keras_submission)
    wanted = LoadedModel(download(name, done.version)).answer({"x": X[:, 0].astype("float64")})["y"]
    for uri in (f"models:/{name}/{done.version}", f"models:/{name}@challenger"):
        model = client.pyfunc.load_model(uri)
        frame = model.predict(pd.DataFrame({"x": X[:, 0].astype("float64")}))
        assert np.stack(frame["y"]).tobytes() == wanted.tobytes()


def test_keras_and_tensorflow_load_the_bare_model(mlflow: str, keras_submission: Submission) -> None:
    import mlflow as client

    uri = f"models:/{keras_submission.name}/{register(keras_submission).version}"
    model = client.keras.load_model(uri)
    traced = client.tensorflow.load_model(uri)
    assert np.array_equal(np.asarray(traced.serve(X[:1])), np.asarray(model(X[:1])))


def test_scikit_learn_loads_the_bare_model(mlflow: str, own_submission: Callable[[Any], Submission]) -> None:
    import mlflow as client
    from sklearn.ensemble import RandomForestRegressor

    model = SklearnModel(RandomForestRegressor(3))
    given = own_submission(model)
    loaded = client.sklearn.load_model(f"models:/{given.name}/{register(given).version}")
    assert np.array_equal(loaded.predict(X), model.predict(X))


def test_xgboost_loads_the_bare_model(mlflow: str, own_submission: Callable[[Any], Submission]) -> None:
    import mlflow as client
    import xgboost

    model = XGBoostModel({"objective": "reg:squarederror"}, 5)
    given = own_submission(model)
    loaded = client.xgboost.load_model(f"models:/{given.name}/{register(given).version}")
    assert np.array_equal(loaded.predict(xgboost.DMatrix(X)), model.predict(X))


def test_the_server_shows_the_flavours(mlflow: str, own_submission: Callable[[Any], Submission]) -> None:
    given = own_submission(XGBoostModel({"objective": "reg:squarederror"}, 2))
    done = register(given)
    # What the version's page reads.
    query = {"path": "MLmodel", "name": given.name, "version": done.version}
    answer = httpx.get(f"{mlflow}/model-versions/get-artifact", params=query)
    assert answer.status_code == 200
    shown = yaml.safe_load(answer.text)
    assert set(shown["flavors"]) == {"python_function", "xgboost"}
    assert json.loads(shown["signature"]["inputs"])[0]["name"] == "x"


def test_a_version_registered_without_the_file_is_fetched_as_before(
    mlflow: str, submit: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from chandlery.registry import register as registration

    write = registration.write_bundle

    def before(given: Submission, folder: Path) -> None:
        write(given, folder)
        (folder / "MLmodel").unlink()
        index = json.loads((folder / "files.json").read_text())
        del index["MLmodel"]
        (folder / "files.json").write_text(json.dumps(index))

    monkeypatch.setattr(registration, "write_bundle", before)
    given = submit()
    done = register(given)
    assert read_manifest(download(given.name, done.version)) == given.manifest
    fetch(version_info(given.name, done.version), tmp_path / "all")
    assert not (tmp_path / "all" / "MLmodel").exists()
