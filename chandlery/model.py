"""The model package: one folder that holds everything needed to run, explain and rebuild a trained model.

    chandlery.json      manifest: recipe, hyperparameters, inputs, metrics, digest, provenance
    model.keras         a Keras model: definition and weights in Keras' own format
    saved_model/        the same as traced functions: of one row, of a batch, and of a batch row by row
    model.tflite        the same for the light runtime, LiteRT, where it agrees with TensorFlow
    model/              a model of another framework, as its `save` wrote it
    state/              what the recipe's `fit` learned: JSON and arrays
    recipe/             the recipe's source as it was
    example.json        one row of the validation data, as a request holds it
    requirements.txt    the exact versions of the environment that trained it

Written by training, logged by the registry, loaded by evaluation, batch prediction and the model server.
"""

from __future__ import annotations

import hashlib
import importlib.util
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
from chandlery.errors import ModelLoadError, UserError, require_extra
from chandlery.example import write_example
from chandlery.frameworks import litert
from chandlery.frameworks.compiled import Times
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
SCHEMA_VERSION = 3  # 2 adds `framework`, and the state of a recipe with `fit`; 3 adds `runtimes`
READABLE_VERSIONS = (1, 2, 3)
KERAS: dict[str, str] = {"class": "keras", "flavour": "tensorflow"}
STATE_FOLDER, MODEL_FOLDER = "state", "model"
AUTO, TENSORFLOW = "auto", "tensorflow"  # runtimes, beside litert.NAME


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
        runtimes: what is known of further runtimes that can serve the model: see `chandlery.frameworks.litert.export`.
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
    runtimes: dict[str, dict[str, Any]] = field(default_factory=dict)


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
    validation: Any = None,
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
        validation: features of validation rows, for the light runtime; None: the package is for TensorFlow alone.

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
        runtimes = save_keras(model, features, partial, validation)
    else:
        runtimes = {}
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
        runtimes=runtimes,
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
    """A model package ready to predict: featurize -> model -> answer, with the recipe's own functions and its state.

    Attributes:
        runtime: what computes: `tensorflow`, `litert`, or the framework's own name.
        exact: equal rows get equal answers to the last bit, whatever is beside them in a batch.
    """

    def __init__(
        self, folder: Path, runtime: str = TENSORFLOW, exact: bool | None = None, threads: int = 1
    ) -> None:
        """Load the package in `folder`.

        Args:
            folder: the package.
            runtime: `tensorflow`, `litert`, or `auto`: LiteRT where the package has a verified file that was faster than
                TensorFlow, or where TensorFlow is not installed. For Keras models alone.
            exact: answer row by row as a plain session of TensorFlow does, bit for bit; None: as the recipe says.
            threads: most threads of a call of LiteRT.

        Raises:
            ModelLoadError: the package is damaged, its framework refuses it, or it cannot be served as asked.
            RecipeError: its recipe cannot be loaded.
            MissingExtraError: the runtime is not installed.
        """
        self.folder = folder
        self.manifest = read_manifest(folder)
        loaded = load_snapshot(folder / "recipe", self.manifest.recipe)
        self.recipe: Recipe = loaded.recipe
        self.state: State = states.load(folder / STATE_FOLDER) if learns(self.recipe) else {}
        framework = self.manifest.framework
        self._model: Any
        if framework.get("class") != KERAS["class"]:
            self.runtime, self.exact = framework.get("flavour") or "recipe", True
            self._model = frameworks.load(framework, folder / MODEL_FOLDER, module_of(self.recipe))
            return
        exact = self.recipe.exact if exact is None else exact
        self.runtime = choose_runtime(self.manifest, exact, runtime)
        if self.runtime == litert.NAME:
            self._model = litert.load(folder, self.manifest.runtimes.get(litert.NAME, {}), threads)
        else:
            require_extra("serve", "tensorflow")
            self._model = TracedModel(folder, exact)
        self.exact = self._model.exact

    def tune(self, features: Any, largest: int, seconds: float, known: Times | None = None) -> Times | None:
        """Let a model of TensorFlow find its fastest forms; see `chandlery.frameworks.compiled.Compiled.tune`.

        Returns:
            what was measured; None where there is nothing to choose.
        """
        if not isinstance(self._model, TracedModel):
            return None
        return self._model.tune(features, largest, seconds, known)

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


def choose_runtime(manifest: Manifest, exact: bool, wanted: str = AUTO) -> str:
    """Return which runtime serves a package of a Keras model: `tensorflow` or `litert`.

    Args:
        manifest: the package's manifest.
        exact: bit for bit the plain session's answer is asked for, which TensorFlow alone gives.
        wanted: `tensorflow`, `litert` or `auto`.

    Raises:
        UserError: LiteRT and exact are asked for together, or there is no such runtime.
    """
    if wanted not in (AUTO, TENSORFLOW, litert.NAME):
        raise UserError(f"unknown runtime {wanted!r}", f"valid: {AUTO}, {TENSORFLOW}, {litert.NAME}")
    if exact and wanted == litert.NAME:
        raise UserError(
            "exact answers are those of TensorFlow, and the runtime asked for is litert",
            "leave out one of the two; the light runtime's answers are within 1e-5 of TensorFlow's",
        )
    if wanted != AUTO:
        return wanted
    found = manifest.runtimes.get(litert.NAME, {})
    if exact or not found.get("verified") or not litert.available():
        return TENSORFLOW
    if importlib.util.find_spec("tensorflow") is None:
        return litert.NAME
    return litert.NAME if found.get("faster") else TENSORFLOW


def light_runtime(manifest: Manifest) -> str:
    """Return what is known of the package's file for the light runtime, in words; empty for models of other frameworks."""
    found = manifest.runtimes.get(litert.NAME)
    if found is None:
        return ""
    if not found.get("verified"):
        return f"LiteRT: refused: {found.get('reason', '')}"
    return f"LiteRT: verified on {found['rows']} validation rows, difference {found['difference']:.1e}"


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
