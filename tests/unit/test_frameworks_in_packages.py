"""Models of other frameworks go the whole way: trained, packaged, loaded, answered, and asked by MLflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chandlery.model import LoadedModel, read_manifest, save_model
from chandlery.provenance import Provenance
from chandlery.recipe import load_recipe
from chandlery.registry.mlmodel import MLMODEL, mlmodel

RECIPE = """
import numpy as np
from chandlery.recipe import Column, Recipe


class Port(Recipe):
    task = "classification"
    schema = (Column("depth"), Column("kind", "str"), Column("late", "int64"))
    target = "late"
    classes = ("on time", "late")
    objective = "accuracy"
    defaults = {"trees": 10}

    def load(self, root):
        generator = np.random.default_rng(0)
        depth = generator.normal(size=400)
        kind = np.array(["tanker", "ferry", "tug"])[generator.integers(0, 3, 400)]
        return {"depth": depth, "kind": kind, "late": ((depth > 0) ^ (kind == "tug")).astype("int64")}

    def featurize(self, rows):
        return {"depth": rows["depth"], "kind": rows["kind"]}

    def build(self, parameters, features):
        return self.model(parameters)

    def metrics(self, truth, outputs):
        return {"accuracy": float(np.mean(outputs.argmax(axis=1) == truth))}

    def answer(self, outputs):
        return {"late": np.array(self.classes)[outputs.argmax(axis=1)], "probability": outputs[:, 1]}

    def wrong(self, prediction, truth):
        return prediction != truth
"""
MODELS = {
    "sklearn": """
    def model(self, parameters):
        from sklearn.compose import ColumnTransformer
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder
        from chandlery.frameworks.sklearn import SklearnModel

        text = ColumnTransformer([("kind", OneHotEncoder(handle_unknown="ignore"), ["kind"])], remainder="passthrough")
        return SklearnModel(make_pipeline(text, RandomForestClassifier(int(parameters["trees"]))))
""",
    "xgboost": """
    def model(self, parameters):
        from chandlery.frameworks.xgboost import XGBoostModel

        return XGBoostModel({"objective": "binary:logistic"}, int(parameters["trees"]), early_stopping=3)
""",
    "": """
    def model(self, parameters):
        return Share()


class Share:
    flavour = ""

    def fit(self, features, labels, *, validation, seed):
        self.share = np.array([1 - labels.mean(), labels.mean()])

    def predict(self, features):
        return np.tile(self.share, (len(features["depth"]), 1))

    def save(self, folder):
        np.save(folder / "share.npy", self.share)

    @classmethod
    def load(cls, folder):
        model = cls()
        model.share = np.load(folder / "share.npy", allow_pickle=False)
        return model
""",
}


@pytest.mark.parametrize("flavour", MODELS)
def test_a_model_goes_the_whole_way(flavour: str, tmp_path: Path) -> None:
    import mlflow
    import pandas as pd

    from chandlery.training.fitting import fit

    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "port.py").write_text(RECIPE + MODELS[flavour])
    loaded = load_recipe(f"{tmp_path}/source/port.py:Port")
    rows = loaded.recipe.load(tmp_path)
    digests = set()
    for version in ("1", "2"):
        result = fit(loaded, rows, {}, seed=1)
        package = tmp_path / version / "model"
        manifest = save_model(package, result.model, loaded, result.parameters, result.metrics, Provenance())
        digests.add(manifest.digest)
    assert len(digests) == 1
    assert result.metrics["accuracy"] > (0.9 if flavour else 0.4)
    request = {name: rows[name][:20] for name in ("depth", "kind")}
    wanted = loaded.recipe.answer(result.model.predict(loaded.recipe.featurize(request)))
    served = LoadedModel(package)
    assert served.manifest.framework["flavour"] == flavour
    for name, values in served.answer(request).items():
        assert values.tobytes() == wanted[name].tobytes()
    (package.parent / MLMODEL).write_text(mlmodel(package, read_manifest(package), "model"))
    frame = mlflow.pyfunc.load_model(str(package.parent)).predict(pd.DataFrame(request))
    assert np.array_equal(frame["late"], wanted["late"])
    assert np.array_equal(frame["probability"], wanted["probability"])
