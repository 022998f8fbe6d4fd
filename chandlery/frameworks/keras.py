"""Keras models: how they are traced for serving, called, and told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.arrays import count
from chandlery.errors import ModelLoadError, TrainingError
from chandlery.frameworks import litert
from chandlery.frameworks.calls import as_arrays, given, plain_call
from chandlery.frameworks.compiled import Compiled, Times

if TYPE_CHECKING:
    import keras

WHOLE, TRACED = "model.keras", "saved_model"  # the files of a package


def is_keras(model: object) -> bool:
    """Return whether a model is one of Keras, without importing it."""
    return any(cls.__module__.partition(".")[0] == "keras" for cls in type(model).__mro__)


def save(model: keras.Model, features: Any, folder: Path, validation: Any = None) -> dict[str, Any]:
    """Write a model to a package.

    Args:
        model: the model.
        features: at least one row of features, for types and shapes; None: one float32 input of the model's shape.
        folder: the package.
        validation: features of validation rows, on which a file for the light runtime has to agree with TensorFlow;
            None: no such file is made.

    Returns:
        what is known of the other runtimes that can serve the package, by name: see `chandlery.frameworks.litert.export`.
    """
    import tensorflow as tf

    model.save(folder / WHOLE)
    module, specs = _serving_module(model, features)
    tf.saved_model.save(module, str(folder / TRACED))
    if validation is None:
        return {}

    def predict(features: Any) -> Any:
        return arrays(module.serve_batch(tensors(features)))

    return {
        litert.NAME: litert.export(
            lambda features: model(features, training=False), specs, validation, folder, predict
        )
    }


def weights_digest(model: keras.Model, digest: Any) -> None:
    """Add names of shapes and types and the content of all weights, in order, to a digest.

    The `.keras` file itself is a zip with time stamps, so its bytes differ between equal models.
    """
    for weight in model.get_weights():
        digest.update(str(weight.shape).encode() + str(weight.dtype).encode())
        digest.update(np.ascontiguousarray(weight).tobytes())


def state_of(model: keras.Model) -> str:
    """Return the digest of a model's weights."""
    digest = hashlib.sha256()
    weights_digest(model, digest)
    return digest.hexdigest()


def tensors(features: Any) -> Any:
    """Return features in a form that Keras takes: texts and named arrays as tensors, one array of numbers as it is."""
    if isinstance(features, np.ndarray) and features.dtype.kind != "U":
        return features
    import tensorflow as tf

    # All of them: Keras refuses a mix of tensors and arrays.
    if isinstance(features, Mapping):
        return {name: tf.convert_to_tensor(array) for name, array in features.items()}
    return tf.convert_to_tensor(features)


def arrays(outputs: Any) -> Any:
    """Return a model's outputs as arrays.

    Raises:
        TrainingError: they are neither one tensor nor a dict of tensors.
    """
    if isinstance(outputs, Mapping):
        return {str(name): np.asarray(output) for name, output in outputs.items()}
    if isinstance(outputs, (list, tuple)):
        raise TrainingError(
            f"the model returns a list of {len(outputs)} outputs",
            "name them: keras.Model(inputs, {'price': price, 'days': days})",
        )
    return np.asarray(outputs)


class TracedModel:
    """The traced functions of a package, ready to predict.

    Attributes:
        exact: each row's outputs are, to the last bit, those of the Keras model called in a plain session with that row
            alone: requests can share a call and still be replayed exactly. Without it a call takes the whole batch, and
            a row differs from that by no more than `chandlery.frameworks.arrays.TOLERANCE`.
    """

    def __init__(self, folder: Path, exact: bool = False) -> None:
        """Load it.

        Args:
            folder: the package.
            exact: answer row by row. A package that an earlier release wrote knows no other way.

        Raises:
            ModelLoadError: TensorFlow refuses it.
        """
        import tensorflow as tf

        try:
            self._module = tf.saved_model.load(str(folder / TRACED))
            self.exact = exact or not hasattr(self._module, "serve_batch")
            self._whole = self._module.serve if self.exact else self._module.serve_batch
            (trace,) = self._whole.concrete_functions
            self._specs: Any = trace.structured_input_signature[0][0]
            self._direct = not isinstance(self._specs, Mapping)
            if self._direct:
                (one,) = self._module.serve_one.concrete_functions
                self._serve, self._serve_one = plain_call(trace), plain_call(one)
                self._row_shape = tuple(trace.inputs[0].shape[1:])
        except Exception as error:
            raise ModelLoadError(
                f"{folder}: TensorFlow cannot load the model: {error}", "train the model again"
            ) from error
        if self.exact:
            # The optimiser would fuse operations whose sums then round otherwise than those of a plain session.
            tf.config.optimizer.set_experimental_options({"remapping": False})
        self._tensor = tf.constant
        self._compiled: Compiled | None = None

    def tune(self, row: Any, largest: int, seconds: float, known: Times | None = None) -> Times | None:
        """Compile with XLA for the batch sizes at which that is faster; see `Compiled.tune`. None for an exact model."""
        if self.exact:
            return None
        self._compiled = Compiled(self._whole, self._specs, self._predict_traced)
        return self._compiled.tune(row, largest, seconds, known)

    def predict(self, features: Any) -> Any:
        """Return the outputs (n, ...) for features (n, ...)."""
        if self._compiled is not None:
            rows = count(features)
            size = self._compiled.size(rows)
            if size and (not self._direct or features.shape[1:] == self._row_shape):
                return self._compiled.predict(features, rows, size)
        return self._predict_traced(features)

    def _predict_traced(self, features: Any) -> Any:
        if not self._direct:
            serve = self._module.serve_one if count(features) == 1 else self._whole
        else:
            serve = self._serve_one if len(features) == 1 else self._serve
            if features.shape[1:] != self._row_shape:
                serve = self._whole  # which refuses in words what does not fit
        return as_arrays(serve(given(self._tensor, features, self._specs)))


def _serving_module(model: keras.Model, features: Any) -> tuple[Any, Any]:
    """Return the functions that a package holds, and the specification of their argument."""
    import tensorflow as tf

    def spec(array: np.ndarray, name: str, rows: int | None) -> tf.TensorSpec:
        kind = tf.string if array.dtype.kind in "US" else tf.as_dtype(array.dtype)
        return tf.TensorSpec([rows, *array.shape[1:]], kind, name=name)

    def specs(rows: int | None) -> Any:
        if isinstance(features, Mapping):
            return {name: spec(array, name, rows) for name, array in features.items()}
        if features is None:
            return tf.TensorSpec([rows, *model.input_shape[1:]], tf.float32, name="features")
        return spec(features, "features", rows)

    def serve_one(features: Any) -> Any:
        return model(features, training=False)

    one = tf.function(serve_one, input_signature=[specs(1)])
    signature = tf.nest.map_structure(
        lambda output: tf.TensorSpec(output.shape[1:], output.dtype),
        one.get_concrete_function().structured_outputs,
    )

    def serve(features: Any) -> Any:
        # One call of the graph, but row by row: the kernels for a batch round each row by its place and by the size of
        # the batch, on some processors in every second answer.
        return tf.map_fn(
            lambda row: tf.nest.map_structure(
                lambda output: output[0], serve_one(tf.nest.map_structure(lambda part: part[tf.newaxis], row))
            ),
            features,
            fn_output_signature=signature,
            parallel_iterations=1,
        )

    module = tf.Module()
    module.model = model  # keeps the variables tracked
    module.serve_one = one
    module.serve_batch = tf.function(serve_one, input_signature=[specs(None)])
    module.serve = tf.function(serve, input_signature=[specs(None)])
    return module, specs(None)
