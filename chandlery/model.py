"""The model package: one folder that holds everything needed to run, explain and rebuild a trained model.

    chandlery.json      manifest: recipe, hyperparameters, inputs, metrics, digest, provenance
    model.keras         definition and weights in Keras' own format
    saved_model/        the same as a traced function with an open batch dimension, for serving
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
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery import provenance
from chandlery.errors import ModelLoadError
from chandlery.example import write_example
from chandlery.recipe import Columns, LoadedRecipe, Recipe, Value, load_snapshot, snapshot

if TYPE_CHECKING:
    import keras

MANIFEST = "chandlery.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """The manifest of a model package.

    Attributes:
        digest: SHA-256 over weights, recipe digest and parameters: equal digests, equal models.
        recipe: reference of the recipe inside the package, `entry.py:Class`.
        recipe_digest: digest of the recipe's source.
        task: classification or regression.
        parameters: hyperparameters used.
        inputs: columns of a request: name, dtype, shape.
        classes: class names, classification only.
        metrics: metrics on the validation split.
        provenance: the record, as artifact metadata.
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


def save_model(
    folder: Path,
    model: keras.Model,
    loaded: LoadedRecipe,
    parameters: Mapping[str, Value],
    metrics: Mapping[str, float],
    record: provenance.Provenance,
    example: Columns | None = None,
) -> Manifest:
    """Write a model package to `folder` (replaced when it exists; complete or absent, never half).

    Args:
        folder: where the package goes.
        model: the trained Keras model.
        loaded: the recipe that built it.
        parameters: hyperparameters used.
        metrics: metrics on the validation split.
        record: where it came from; recipe, parameters and model digest are filled in.
        example: one row of the validation data; None for none.

    Returns:
        the manifest written.
    """
    import tensorflow as tf

    recipe = loaded.recipe
    digest = model_digest(model, loaded.digest, parameters)
    record = record.with_(
        recipe=loaded.reference,
        recipe_digest=loaded.digest,
        parameters=json.dumps(dict(parameters), sort_keys=True),
        model_digest=digest,
    )
    for abandoned in folder.parent.glob(f".{folder.name}.partial-*"):
        shutil.rmtree(abandoned, ignore_errors=True)  # of a process that was killed here
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    reference = snapshot(loaded, partial / "recipe")
    model.save(partial / "model.keras")
    tf.saved_model.save(_serving_module(model), str(partial / "saved_model"))
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
    if document.pop("schema_version", None) != SCHEMA_VERSION:
        raise ModelLoadError(
            f"{folder}: unknown schema version of {MANIFEST}", "use the release that wrote it"
        )
    try:
        return Manifest(**document)
    except TypeError as error:
        raise ModelLoadError(f"{folder}: damaged {MANIFEST}: {error}", "train the model again") from error


class LoadedModel:
    """A model package ready to predict: featurize -> traced function -> answer, the recipe's own functions."""

    def __init__(self, folder: Path) -> None:
        """Load the package in `folder`.

        Raises:
            ModelLoadError: the package is damaged or TensorFlow refuses it.
            RecipeError: its recipe cannot be loaded.
        """
        import tensorflow as tf

        self.folder = folder
        self.manifest = read_manifest(folder)
        self.recipe: Recipe = load_snapshot(folder / "recipe", self.manifest.recipe).recipe
        try:
            self._module = tf.saved_model.load(str(folder / "saved_model"))
            self._serve, self._row_shape = _direct(self._module.serve)
            self._serve_one, _ = _direct(self._module.serve_one)
        except Exception as error:
            raise ModelLoadError(
                f"{folder}: TensorFlow cannot load the model: {error}", "train the model again"
            ) from error
        # The optimiser would fuse operations whose sums then round otherwise than those of a plain session.
        tf.config.optimizer.set_experimental_options({"remapping": False})
        self._tensor = tf.constant

    @property
    def provenance(self) -> provenance.Provenance:
        """Where the model came from."""
        return provenance.read(self.manifest.provenance)

    def outputs(self, rows: Columns) -> np.ndarray:
        """Return the model's raw outputs (n, ...) for n raw rows."""
        return self.forward(self.recipe.featurize(rows))

    def forward(self, features: np.ndarray) -> np.ndarray:
        """Return the model's raw outputs (n, ...) for features (n, ...), float32.

        To the last bit, each row's output is that of the Keras model called in a plain session with that row alone:
        it does not depend on the rows beside it, so requests can share a call and still be replayed exactly.
        """
        serve = self._serve_one if len(features) == 1 else self._serve
        if features.shape[1:] != self._row_shape:
            serve = self._module.serve  # which refuses in words what does not fit
        result: np.ndarray = serve(self._tensor(features, dtype="float32")).numpy()
        return result

    def answer(self, rows: Columns) -> Columns:
        """Return the recipe's answer for n raw rows."""
        return self.recipe.answer(self.outputs(rows))


def _direct(function: Any) -> tuple[Any, tuple[int | None, ...]]:
    """Return the one trace of a restored function as a plain call, and the shape of a row of its argument.

    Called itself, the function searches for the trace that fits and binds the arguments anew each time, which takes
    longer than a small network does. The shortcut is TensorFlow's own and private; without it all works, more slowly.
    """
    (trace,) = function.concrete_functions
    shape = tuple(trace.inputs[0].shape[1:])
    flat, captured = getattr(trace, "_call_flat", None), trace.captured_inputs
    return (trace if flat is None else lambda features: flat([features], captured)), shape


def model_digest(model: keras.Model, recipe_digest: str, parameters: Mapping[str, Value]) -> str:
    """Return the SHA-256 over weights (in order), recipe digest and parameters.

    The `.keras` file itself is a zip with time stamps, so its bytes differ between equal models.
    """
    digest = hashlib.sha256(recipe_digest.encode())
    digest.update(json.dumps(dict(parameters), sort_keys=True).encode())
    for weight in model.get_weights():
        digest.update(str(weight.shape).encode() + str(weight.dtype).encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _serving_module(model: keras.Model) -> Any:
    import tensorflow as tf

    shape = model.input_shape[1:]
    one = tf.TensorSpec([1, *shape], tf.float32, name="features")
    rows = tf.TensorSpec([None, *shape], tf.float32, name="features")

    def serve_one(features: tf.Tensor) -> tf.Tensor:
        return model(features, training=False)

    def serve(features: tf.Tensor) -> tf.Tensor:
        # One call of the graph, but row by row: the kernels for a batch round each row by its place and by the size of
        # the batch, on some processors in every second answer.
        return tf.map_fn(
            lambda row: serve_one(row[tf.newaxis])[0],
            features,
            fn_output_signature=tf.float32,
            parallel_iterations=1,
        )

    module = tf.Module()
    module.model = model  # keeps the variables tracked
    module.serve_one = tf.function(serve_one, input_signature=[one])
    module.serve = tf.function(serve, input_signature=[rows])
    return module


def _requirements() -> str:
    found = {d.metadata["Name"]: d.version for d in metadata.distributions() if d.metadata["Name"]}
    return "".join(f"{name}=={found[name]}\n" for name in sorted(found, key=str.lower))
