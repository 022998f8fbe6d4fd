"""MLflow's own loaders read what is registered, without pickle: the whole package as a pyfunc, and the bare model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from chandlery import frameworks
from chandlery.errors import RecipeError, UserError
from chandlery.frameworks.sklearn import SklearnModel
from chandlery.frameworks.xgboost import XGBoostModel
from chandlery.model import Manifest, read_manifest, save_model
from chandlery.provenance import Provenance
from chandlery.recipe import load_recipe
from chandlery.registry.mlmodel import MLMODEL, mlmodel, signature
from chandlery.registry.pyfunc import PackagedModel
from tests.line import RECIPE, write_package

SHAPED = RECIPE.replace(
    'Column("x"), Column("y")', 'Column("x", "float32", shape=(3,)), Column("y")'
).replace('rows["x"][:, None].astype("float32")', 'rows["x"]')
Bundle = Callable[..., Path]


@pytest.fixture
def keras_bundle(tmp_path: Path) -> Bundle:
    """A version's folder with a package of Keras in it."""

    def make(source: str = RECIPE, places: int = 1) -> Path:
        import keras

        keras.utils.set_random_seed(1)
        (tmp_path / "source").mkdir()
        (tmp_path / "source" / "recipe.py").write_text(source)
        model = keras.Sequential([keras.Input((places,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        loaded = load_recipe(f"{tmp_path}/source/recipe.py:Line")
        manifest = save_model(tmp_path / "version" / "model", model, loaded, {}, {"mae": 0.1}, Provenance())
        return finish(tmp_path / "version", manifest)

    return make


@pytest.fixture
def own_bundle(tmp_path: Path) -> Callable[[Any], Path]:
    """A version's folder with a package of another framework in it."""

    def make(model: Any) -> Path:
        package = tmp_path / "version" / "model"
        write_package(package, "d" * 64, b"", Provenance())
        return with_model(package, model)

    return make


def with_model(package: Path, model: Any) -> Path:
    manifest = read_manifest(package)
    (package / "model.keras").unlink()
    for path in sorted((package / "saved_model").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (package / "saved_model").rmdir()
    document = json.loads((package / "chandlery.json").read_text())
    document["framework"] = frameworks.save(model, package / "model")
    (package / "chandlery.json").write_text(json.dumps(document))
    (package / "requirements.txt").write_text("scikit-learn==1.9.1\nxgboost-cpu==3.2.0\n")
    return finish(package.parent, manifest)


def finish(folder: Path, manifest: Manifest) -> Path:
    (folder / MLMODEL).write_text(mlmodel(folder / "model", manifest, "model"))
    return folder


def trained(model: Any) -> Any:
    features = np.arange(20, dtype="float32")[:, None]
    labels = features[:, 0] * 2
    list(model.fit(features, labels, validation=(features, labels), seed=0) or [])
    return model


@pytest.mark.slow
def test_a_version_answers_as_a_pyfunc(keras_bundle: Bundle) -> None:
    import mlflow
    import pandas as pd

    from chandlery.model import LoadedModel

    folder = keras_bundle()
    model = mlflow.pyfunc.load_model(str(folder))
    x = np.array([1.0, 2.0, 5.0])
    wanted = LoadedModel(folder / "model").answer({"x": x})["y"]
    frame = model.predict(pd.DataFrame({"x": x, "more": 0}, index=[7, 8, 9]))
    assert list(frame.index) == [7, 8, 9]
    assert np.stack(frame["y"]).tobytes() == wanted.tobytes()
    assert model.predict({"x": x})["y"] is not None
    assert [(c.name, str(c.type)) for c in model.metadata.get_input_schema().inputs] == [
        ("x", "DataType.double")
    ]
    with pytest.raises(mlflow.exceptions.MlflowException, match="Model is missing inputs"):
        model.predict(pd.DataFrame({"z": x}))


@pytest.mark.slow
def test_values_with_a_shape_are_tensors(keras_bundle: Bundle) -> None:
    import mlflow
    import pandas as pd

    from chandlery.model import LoadedModel

    folder = keras_bundle(SHAPED, 3)
    model = mlflow.pyfunc.load_model(str(folder))
    x = np.arange(6, dtype="float32").reshape(2, 3)
    wanted = LoadedModel(folder / "model").answer({"x": x})["y"]
    assert model.predict({"x": x})["y"].tobytes() == wanted.tobytes()
    # MLflow makes tensors of a DataFrame's lists.
    assert model.predict(pd.DataFrame({"x": x.tolist()}))["y"].tobytes() == wanted.tobytes()
    frame = PackagedModel(folder / "model").predict(pd.DataFrame({"x": x.tolist()}))
    assert np.stack(frame["y"]).tobytes() == wanted.tobytes()


@pytest.mark.slow
def test_keras_and_tensorflow_load_the_bare_model(keras_bundle: Bundle) -> None:
    import mlflow

    folder = keras_bundle()
    features = np.array([[1.0], [2.0]], dtype="float32")
    keras_model = mlflow.keras.load_model(str(folder))
    wanted = np.asarray(keras_model(features))
    traced = mlflow.tensorflow.load_model(str(folder))
    assert np.array_equal(np.asarray(traced.serve(features)), wanted)


def test_scikit_learn_is_loaded_by_skops(
    own_bundle: Callable[[Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    import mlflow
    from sklearn.ensemble import RandomForestRegressor

    model = trained(SklearnModel(RandomForestRegressor(3)))
    folder = own_bundle(model)
    monkeypatch.setattr(pickle, "load", lambda *a, **k: pytest.fail("a pickle was read"))
    estimator = mlflow.sklearn.load_model(str(folder))
    x = np.array([[1.5], [9.0]])
    assert np.array_equal(estimator.predict(x), model.predict(x))


def test_xgboost_is_loaded_from_its_json(own_bundle: Callable[[Any], Path]) -> None:
    import mlflow
    import xgboost

    model = trained(XGBoostModel({"objective": "reg:squarederror"}, 5))
    booster = mlflow.xgboost.load_model(str(own_bundle(model)))
    x = np.array([[1.5], [9.0]], dtype="float32")
    assert isinstance(booster, xgboost.Booster)
    assert np.array_equal(booster.predict(xgboost.DMatrix(x)), model.predict(x))


class Own:
    """A class of a recipe, whatever flavour it says it is."""

    flavour = "sklearn"

    def fit(self, features: Any, labels: Any, *, validation: Any, seed: int) -> None: ...

    def predict(self, features: Any) -> Any: ...

    def save(self, folder: Path) -> None:
        (folder / "model.skops").write_text("x")

    @classmethod
    def load(cls, folder: Path) -> Own:
        return cls()


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: trained(XGBoostModel({"objective": "reg:squarederror"}, 2)), {"python_function", "xgboost"}),
        (Own, {"python_function"}),
    ],
    ids=["xgboost", "a class of the recipe"],
)
def test_the_flavours_are_those_of_the_files(
    make: Callable[[], Any], names: set[str], own_bundle: Callable[[Any], Path]
) -> None:
    folder = own_bundle(make())
    document = yaml.safe_load((folder / MLMODEL).read_text())
    assert set(document["flavors"]) == names
    assert "cloudpickle" not in str(document)
    for conf in document["flavors"].values():
        assert (folder / conf["data"]).exists()
    assert document["flavors"].get("xgboost", {}).get("xgb_version", "3.2.0") == "3.2.0"


def test_a_package_without_requirements_or_inputs_has_the_file_too(tmp_path: Path) -> None:
    from dataclasses import replace

    from mlflow.models import Model

    package = tmp_path / "model"
    write_package(package, "e" * 64, b"weights", Provenance())
    (package / "requirements.txt").unlink()
    folder = finish(tmp_path, replace(read_manifest(package), inputs=[]))
    assert set(Model.load(str(folder)).flavors) == {"python_function", "keras", "tensorflow"}
    assert Model.load(str(folder)).signature is None


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ([("a", "str", []), ("b", "int64", []), ("c", "bool", []), ("d", "float32", [])], "columns"),
        ([("a", "float32", [2, 3]), ("b", "int64", []), ("c", "str", [])], "tensors"),
    ],
    ids=["columns", "tensors"],
)
def test_mlflow_reads_the_signature(columns: list[tuple[str, str, list[int]]], kind: str) -> None:
    from mlflow.types import Schema

    inputs = [{"name": n, "dtype": d, "shape": s, "description": ""} for n, d, s in columns]
    schema = Schema.from_json(json.dumps(signature(inputs)))
    assert schema.input_names() == [name for name, _, _ in columns]
    assert schema.is_tensor_spec() is (kind == "tensors")
    if kind == "columns":
        assert [str(t) for t in schema.input_types()] == [
            "DataType.string",
            "DataType.long",
            "DataType.boolean",
            "DataType.double",
        ]


@pytest.mark.slow
def test_what_is_no_request_is_refused(keras_bundle: Bundle) -> None:
    model = PackagedModel(keras_bundle() / "model")
    with pytest.raises(UserError, match="takes a DataFrame or a mapping"):
        model.predict([1, 2])
    with pytest.raises(RecipeError, match="missing 'x'"):
        model.predict({"z": np.ones(1)})
