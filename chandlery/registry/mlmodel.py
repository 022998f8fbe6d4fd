"""The file `MLmodel` of a version: with it MLflow's own loaders read a registered model package.

`mlflow.pyfunc.load_model("models:/NAME/VERSION")` answers as the model server does (`chandlery.registry.pyfunc`). The
flavour of the library (`mlflow.keras`, `mlflow.tensorflow`, `mlflow.sklearn`, `mlflow.xgboost`) points at its file in the
package and gives the bare model, which takes what `featurize` returns.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from chandlery.model import MANIFEST, Manifest

MLMODEL = "MLmodel"
LOADER = "chandlery.registry.pyfunc"
MODEL = "model"  # folder of a package that holds a model of another framework than Keras
FRAMEWORK = "framework"  # of a manifest: what `chandlery.frameworks.save` returned

# The types of a table's column in MLflow's words. A DataFrame's floats are double, and MLflow narrows none.
COLUMN_TYPES = {
    "float32": "double",
    "float64": "double",
    "int32": "integer",
    "int64": "long",
    "bool": "boolean",
    "str": "string",
}


def mlmodel(package: Path, manifest: Manifest, below: str) -> str:
    """Return the text of the file for a model package.

    Args:
        package: folder of the package.
        manifest: its manifest.
        below: path of the package below the file.
    """
    document: dict[str, Any] = {
        "flavors": {
            "python_function": {
                "loader_module": LOADER,
                "data": below,
                "python_version": platform.python_version(),
            }
        }
        | native(package, below),
        "model_uuid": manifest.digest[:32],
    }
    inputs = signature(manifest.inputs)
    if inputs:
        document["signature"] = {"inputs": json.dumps(inputs), "outputs": None, "params": None}
    text: str = yaml.safe_dump(document, sort_keys=True)
    return text


def native(package: Path, below: str) -> dict[str, dict[str, Any]]:
    """Return MLflow's flavours of the files in a package, by name; none is written by pickle."""
    versions = _versions(package)
    flavours: dict[str, dict[str, Any]] = {}
    if (package / "model.keras").is_file():
        # MLflow adds `model.keras` to the folder.
        flavours["keras"] = {
            "data": below,
            "keras_version": versions.get("keras", ""),
            "save_exported_model": False,
        }
    if (package / "saved_model").is_dir():
        traced = {"model_type": "tf2-module", "saved_model_dir": f"{below}/saved_model"}
        flavours["tensorflow"] = traced
        # MLflow's TensorFlow loader reads this of the flavour `keras` where there is one.
        if "keras" in flavours:
            flavours["keras"] |= traced
    kind = _kind(package)
    if kind == "SklearnModel":
        from chandlery.frameworks.sklearn import FILE, TRUSTED

        flavours["sklearn"] = {
            "pickled_model": f"{below}/{MODEL}/{FILE}",  # the key's name; the file is not a pickle
            "serialization_format": "skops",
            "skops_trusted_types": TRUSTED,
            "sklearn_version": versions.get("scikit-learn", ""),
        }
    elif kind == "XGBoostModel":
        from chandlery.frameworks.xgboost import FILE as XGBOOST_FILE

        flavours["xgboost"] = {
            "data": f"{below}/{MODEL}/{XGBOOST_FILE}",
            "model_class": "xgboost.core.Booster",
            "model_format": "json",
            "xgb_version": versions.get("xgboost-cpu") or versions.get("xgboost", ""),
        }
    return flavours


def signature(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the columns of a request as MLflow's input schema: a table's, or tensors' when a value has a shape."""
    if all(not column["shape"] for column in inputs):
        return [
            {"name": c["name"], "type": COLUMN_TYPES.get(c["dtype"], "double"), "required": True}
            for c in inputs
        ]
    return [
        {
            "name": c["name"],
            "type": "tensor",
            "tensor-spec": {"dtype": c["dtype"], "shape": [-1, *c["shape"]]},
        }
        for c in inputs
    ]


def _kind(package: Path) -> str:
    """Return the adapter of this package that wrote the model; "" for Keras and for a class of the recipe."""
    description = json.loads((package / MANIFEST).read_text(encoding="utf-8")).get(FRAMEWORK)
    name = description.get("class") if isinstance(description, Mapping) else None
    prefix, _, cls = str(name).partition(":")
    return cls if prefix.startswith("chandlery.frameworks.") else ""


def _versions(package: Path) -> dict[str, str]:
    """Return the versions of the environment that trained the model, by name."""
    try:
        lines = (package / "requirements.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = [line.partition("==") for line in lines if "==" in line]
    return {name.strip().lower(): version.strip() for name, _, version in pairs}
