"""The model package: one folder that holds everything needed to run, explain and rebuild a trained model.

    chandlery.json      manifest: recipe, hyperparameters, inputs, metrics, digest, provenance
    model.keras         a Keras model: definition and weights in Keras' own format
    saved_model/        the same as a traced function with an open batch dimension, for serving
    model/              a model of another framework, as its `save` wrote it
    state/              what the recipe's `fit` learned: JSON and arrays
    recipe/             the recipe's source as it was
    example.json        one row of the validation data, as a request holds it
    requirements.txt    the exact versions of the environment that trained it

Written by training, logged by the registry, loaded by evaluation, batch prediction and the model server.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from chandlery import frameworks, provenance
from chandlery import state as states
from chandlery.errors import ModelLoadError
from chandlery.example import write_example
from chandlery.frameworks.keras import TracedModel, is_keras, weights_digest
from chandlery.frameworks.keras import save as save_keras
from chandlery.recipe import (
    Columns,
    LoadedRecipe,
    Recipe,
    State,
    Value,
    featurized,
    learns,
    load_snapshot,
    snapshot,
)

MANIFEST = "chandlery.json"
SCHEMA_VERSION = 2  # 2 adds `framework`, and the state of a recipe with `fit`
READABLE_VERSIONS = (1, 2)
KERAS: dict[str, str] = {"class": "keras", "flavour": "tensorflow"}
STATE_FOLDER, MODEL_FOLDER = "state", "model"


@dataclass(frozen=True)
class Manifest:
    """The manifest of a model package.

    Attributes:
        digest: SHA-256 over weights, state, recipe digest and parameters: equal digests, equal models.
        recipe: reference of the recipe inside the package, `entry.py:Class`.
        recipe_digest: digest of the recipe's source.
        task: the recipe's task.
        parameters: hyperparameters used.
        inputs: columns of a request: name, dtype, shape.
        classes: class names, classification only.
        metrics: metrics on the validation split.
        provenance: the record, as artifact metadata.
        framework: what the model is: its class, and the name of MLflow's flavour.
    """

    digest: str
    recipe: str
    recipe_digest: str
    task: str
    parameters: dict[str, Value]
    inputs: list[dict[str, Any]]
    classes: list[str]
    metrics: dict[str, float]
    provenance: dict[str, str] = field(default_factory=dict)
    framework: dict[str, str] = field(default_factory=lambda: dict(KERAS))


def save_model(
    folder: Path,
    model: Any,
    loaded: LoadedRecipe,
    parameters: Mapping[str, Value],
    metrics: Mapping[str, float],
    record: provenance.Provenance,
    *,
    state: State | None = None,
    features: Any = None,
    example: Columns | None = None,
) -> Manifest:
    """Write a model package to `folder` (replaced when it exists; complete or absent, never half).

    Args:
        folder: where the package goes.
        model: the trained model: of Keras, or a `chandlery.frameworks.TrainableModel`.
        loaded: the recipe that built it.
        parameters: hyperparameters used.
        metrics: metrics on the validation split.
        record: where it came from; recipe, parameters and model digest are filled in.
        state: what the recipe's `fit` learned.
        features: at least one row of features, for the types and shapes of the served function; None: one float32
            array of the Keras model's input shape.
        example: one row of the validation data; None for none.

    Returns:
        the manifest written.
    """
    recipe = loaded.recipe
    for abandoned in folder.parent.glob(f".{folder.name}.partial-*"):
        shutil.rmtree(abandoned, ignore_errors=True)  # of a process that was killed here
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    reference = snapshot(loaded, partial / "recipe")
    if is_keras(model):
        framework = dict(KERAS)
        save_keras(model, features, partial)
    else:
        framework = frameworks.save(model, partial / MODEL_FOLDER, module_of(recipe))
    kept = dict(state or {}) if learns(recipe) else None
    if kept is not None:
        states.save(kept, partial / STATE_FOLDER)
    digest = model_digest(model, loaded.digest, parameters, kept, partial / MODEL_FOLDER)
    record = record.with_(
        recipe=loaded.reference,
        recipe_digest=loaded.digest,
        parameters=json.dumps(dict(parameters), sort_keys=True),
        model_digest=digest,
    )
    (partial / "requirements.txt").write_text(_requirements(), encoding="utf-8")
    write_example(partial, example or {})
    manifest = Manifest(
        digest=digest,
        recipe=reference,
        recipe_digest=loaded.digest,
        task=recipe.task,
        parameters=dict(parameters),
        inputs=[
            {"name": c.name, "dtype": c.dtype, "shape": list(c.shape), "description": c.description}
            for c in recipe.inputs()
        ],
        classes=list(recipe.classes),
        metrics={name: float(value) for name, value in metrics.items()},
        provenance=record.metadata(),
        framework=framework,
    )
    document = {"schema_version": SCHEMA_VERSION, **manifest.__dict__}
    (partial / MANIFEST).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a model package.

    Raises:
        ModelLoadError: the folder is not a model package, or one of a later schema version.
    """
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ModelLoadError(f"{folder} is not a model package: {error}", "train_model writes one") from error
    if not isinstance(document, dict) or document.pop("schema_version", None) not in READABLE_VERSIONS:
        raise ModelLoadError(
            f"{folder}: unknown schema version of {MANIFEST}", "use the release that wrote it"
        )
    try:
        return Manifest(**document)
    except TypeError as error:
        raise ModelLoadError(f"{folder}: damaged {MANIFEST}: {error}", "train the model again") from error


class LoadedModel:
    """A model package ready to predict: featurize -> model -> answer, with the recipe's own functions and its state."""

    def __init__(self, folder: Path) -> None:
        """Load the package in `folder`.

        Raises:
            ModelLoadError: the package is damaged, or its framework refuses it.
            RecipeError: its recipe cannot be loaded.
        """
        self.folder = folder
        self.manifest = read_manifest(folder)
        loaded = load_snapshot(folder / "recipe", self.manifest.recipe)
        self.recipe: Recipe = loaded.recipe
        self.state: State = states.load(folder / STATE_FOLDER) if learns(self.recipe) else {}
        framework = self.manifest.framework
        if framework.get("class") == KERAS["class"]:
            self._model: Any = TracedModel(folder)
        else:
            self._model = frameworks.load(framework, folder / MODEL_FOLDER, module_of(self.recipe))

    @property
    def provenance(self) -> provenance.Provenance:
        """Where the model came from."""
        return provenance.read(self.manifest.provenance)

    def featurize(self, rows: Columns) -> Any:
        """Return the features (n, ...) of n raw rows."""
        return featurized(self.recipe, rows, self.state)

    def outputs(self, rows: Columns) -> Any:
        """Return the model's raw outputs (n, ...) for n raw rows."""
        return self.forward(self.featurize(rows))

    def forward(self, features: Any) -> Any:
        """Return the model's raw outputs (n, ...) for features (n, ...); see `TracedModel.predict`."""
        return self._model.predict(features)

    def answer(self, rows: Columns) -> Columns:
        """Return the recipe's answer for n raw rows."""
        return self.recipe.answer(self.outputs(rows))


def model_digest(
    model: Any,
    recipe_digest: str,
    parameters: Mapping[str, Value],
    state: State | None = None,
    folder: Path | None = None,
) -> str:
    """Return the SHA-256 over weights (in order), recipe digest, parameters, and the state where there is one.

    Args:
        model: the trained model.
        recipe_digest: digest of the recipe's source.
        parameters: hyperparameters used.
        state: what `fit` learned; None for a recipe without it.
        folder: what `save` wrote of a model that is not of Keras.
    """
    digest = hashlib.sha256(recipe_digest.encode())
    digest.update(json.dumps(dict(parameters), sort_keys=True).encode())
    if folder is None or is_keras(model):
        weights_digest(model, digest)
    else:
        digest.update(frameworks.digest(folder).encode())
    if state is not None:
        digest.update(states.digest(state).encode())
    return digest.hexdigest()


def module_of(recipe: Recipe) -> types.ModuleType | None:
    """Return the module that a recipe's class was imported from."""
    return sys.modules.get(type(recipe).__module__)


def _requirements() -> str:
    found = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return "".join(f"{name}=={found[name]}\n" for name in sorted(found, key=str.lower))
