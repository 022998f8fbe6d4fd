"""The light runtime: a Keras model as a LiteRT file, made and verified where it was trained, served without TensorFlow.

A package holds the file only when its outputs on validation rows are those of TensorFlow. What was found, either way, is
in the manifest under `runtimes`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from chandlery.arrays import concatenate, count, padded, pick
from chandlery.errors import ModelLoadError, require_extra
from chandlery.frameworks.arrays import TOLERANCE, Outputs, difference
from chandlery.frameworks.calls import shortest

NAME, FILE = "litert", "model.tflite"
CHECKED_ROWS = 256  # rows of the validation part on which the file has to agree with TensorFlow
LARGEST_BYTES = 512 * 2**20  # larger files stay with TensorFlow: flatbuffers end at 2 GB
SEVERAL_UP_TO = (
    32 * 2**20
)  # larger files are held once or twice; each batch size that is held has its own weights
TIMED_ROWS = 32
TIMED_SECONDS = 0.05


def available() -> bool:
    """Return whether LiteRT is installed."""
    return importlib.util.find_spec("ai_edge_litert") is not None


def export(
    function: Callable[[Any], Any], specs: Any, features: Any, folder: Path, predict: Callable[[Any], Outputs]
) -> dict[str, Any]:
    """Write a model as LiteRT file to a package, and verify it.

    Args:
        function: the model as a function of features, for TensorFlow to trace.
        specs: the `tf.TensorSpec` of its argument, or several by name; the first dimension is replaced.
        features: features of n >= 1 validation rows.
        folder: the package; the file is there afterwards only if it was verified.
        predict: the outputs that TensorFlow gives for features.

    Returns:
        what is known of the file, for the manifest: `verified`, and `reason` where it is not; `difference` (see
        `chandlery.frameworks.arrays.difference`) and `rows` where the outputs were compared; then `sha256`, `batch` (0: any
        size, 1: row by row), `inputs`, `outputs` and `faster`, whether it was faster than TensorFlow where it was made.
    """
    if not available():
        return {"verified": False, "reason": "ai-edge-litert was not installed where the model was trained"}
    features = pick(features, slice(0, CHECKED_ROWS))
    reason = ""
    for batch in (None, 1):
        try:
            content, inputs, outputs = _convert(function, specs, batch)
            break
        except Exception as error:
            reason = _reason(error)
    else:
        return {"verified": False, "reason": f"LiteRT cannot hold the model: {reason}"}
    if len(content) > LARGEST_BYTES:
        return {"verified": False, "reason": f"the file would have {len(content) >> 20} MiB"}
    found: dict[str, Any] = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "batch": batch or 0,
        "inputs": inputs,
        "outputs": outputs,
    }
    try:
        model = LiteModel(content, found)
        alone = [model.predict(pick(features, slice(i, i + 1))) for i in range(min(4, count(features)))]
        expected = predict(features)
        away = max(
            difference(model.predict(features), expected),
            *(difference(one, pick(expected, slice(i, i + 1))) for i, one in enumerate(alone)),
        )
    except Exception as error:
        return {"verified": False, "reason": f"LiteRT cannot run the model: {_reason(error)}"}
    compared = {"difference": away, "rows": count(features)}
    if not away <= TOLERANCE:
        return {
            "verified": False,
            "reason": f"its outputs differ from TensorFlow's by {away:.1e}",
            **compared,
        }
    (folder / FILE).write_bytes(content)
    faster = _faster(model.predict, predict, features)
    return {"verified": True, **compared, **found, "faster": faster}


class LiteModel:
    """A LiteRT file ready to predict. Calls may come from several threads; one at a time is computed."""

    exact = False

    def __init__(self, content: bytes, description: Mapping[str, Any], threads: int = 1) -> None:
        """Load it.

        Args:
            content: the file.
            description: what `export` returned.
            threads: most threads of a call.

        Raises:
            ModelLoadError: LiteRT refuses the file.
            MissingExtraError: LiteRT is not installed.
        """
        require_extra("serve-light", "ai_edge_litert")
        from ai_edge_litert.interpreter import Interpreter

        self._make: Callable[[], Any] = lambda: Interpreter(model_content=content, num_threads=threads)
        self._batch = int(description["batch"])
        self._several = len(content) <= SEVERAL_UP_TO
        self._lock = threading.Lock()
        try:
            first = self._make()
            details = {_number(detail["name"]): detail for detail in first.get_input_details()}
            self._inputs = [
                (name, details[i]["index"], tuple(details[i]["shape_signature"][1:]), details[i]["dtype"])
                for i, name in enumerate(description["inputs"] or [""])
            ]
            places = [detail["index"] for detail in first.get_output_details()]
            self._outputs = list(zip(description["outputs"] or [""], places, strict=True))
            self._by_rows: dict[int, Any] = {}
            if self._batch:
                first.allocate_tensors()
                self._by_rows[self._batch] = first
        except (ValueError, RuntimeError, KeyError) as error:
            raise ModelLoadError(
                f"LiteRT cannot load the model: {_reason(error)}", "train the model again"
            ) from error

    def predict(self, features: Any) -> Outputs:
        """Return the outputs (n, ...) for features (n, ...).

        Raises:
            ValueError: the features have another shape than those that the model was trained on.
        """
        rows = count(features)
        arrays = self._arrays(features)
        with self._lock:
            if not self._batch:
                # The next power of two: an interpreter that is resized allocates and packs its weights anew.
                return self._call(arrays, rows, 1 << max(0, rows - 1).bit_length())
            parts = [self._call([array[i : i + 1] for array in arrays], 1, 1) for i in range(rows)]
        outputs: Outputs = concatenate(parts)
        return outputs

    def _arrays(self, features: Any) -> list[np.ndarray]:
        named = isinstance(features, Mapping)
        arrays = []
        for name, _, shape, dtype in self._inputs:
            array = np.asarray(features[name] if named else features, dtype)
            if array.shape[1:] != shape and all(size > 0 for size in shape):
                raise ValueError(
                    f"features{f' {name!r}' if named else ''} have shape {list(array.shape[1:])} a row; "
                    f"the model takes {list(shape)}"
                )
            arrays.append(array)
        return arrays

    def _call(self, arrays: list[np.ndarray], rows: int, size: int) -> Outputs:
        interpreter = self._by_rows.get(size) or self._sized(size, arrays)
        for (_, index, _, _), array in zip(self._inputs, arrays, strict=True):
            interpreter.set_tensor(index, padded(array, size))
        interpreter.invoke()
        if not self._outputs[0][0]:
            output: np.ndarray = interpreter.get_tensor(self._outputs[0][1])
            return output[:rows]
        return {name: interpreter.get_tensor(index)[:rows] for name, index in self._outputs}

    def _sized(self, size: int, arrays: list[np.ndarray]) -> Any:
        if not self._several and size > 1:
            for held in [held for held in self._by_rows if held > 1]:
                del self._by_rows[held]
        interpreter = self._make()
        for (_, index, _, _), array in zip(self._inputs, arrays, strict=True):
            interpreter.resize_tensor_input(index, [size, *array.shape[1:]])
        interpreter.allocate_tensors()
        self._by_rows[size] = interpreter
        return interpreter


def load(folder: Path, description: Mapping[str, Any], threads: int = 1) -> LiteModel:
    """Load the file of a package.

    Raises:
        ModelLoadError: the package has no verified file, or the file is not the one that was verified.
        MissingExtraError: LiteRT is not installed.
    """
    if not description.get("verified"):
        raise ModelLoadError(
            f"{folder}: no model for the light runtime: {description.get('reason') or 'the package is of an older release'}",
            "serve it with CHANDLERY_RUNTIME=tensorflow",
        )
    try:
        content = (folder / FILE).read_bytes()
    except OSError as error:
        raise ModelLoadError(f"{folder}: {FILE}: {error.strerror}", "train the model again") from error
    if hashlib.sha256(content).hexdigest() != description.get("sha256"):
        raise ModelLoadError(
            f"{folder}: {FILE} is not the file that was verified",
            "restore the package, or train the model again",
        )
    return LiteModel(content, description, threads)


def _convert(
    function: Callable[[Any], Any], specs: Any, batch: int | None
) -> tuple[bytes, list[str], list[str]]:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def sized(spec: Any, name: str) -> Any:
        return tf.TensorSpec([batch, *spec.shape[1:]], spec.dtype, name=name)

    named = isinstance(specs, Mapping)
    names = list(specs) if named else []
    # Names of our own: a feature's may not be one of a tensor.
    given = [sized(specs[name], f"feature_{i}") for i, name in enumerate(names)] or [
        sized(specs, "feature_0")
    ]

    def flat(*parts: Any) -> Any:
        outputs = function(dict(zip(names, parts, strict=True)) if named else parts[0])
        return [outputs[name] for name in sorted(outputs)] if isinstance(outputs, Mapping) else outputs

    outputs = tf.function(function, input_signature=[specs]).get_concrete_function().structured_outputs
    frozen = convert_variables_to_constants_v2(
        tf.function(flat, input_signature=given).get_concrete_function()
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    content: bytes = converter.convert()
    return content, names, sorted(outputs) if isinstance(outputs, Mapping) else []


def _number(name: str) -> int:
    """Return which input a tensor of a file is; LiteRT writes `serving_default_feature_1:0` for `feature_1`."""
    found = re.search(r"feature_(\d+)", name)
    if found is None:
        raise ValueError(f"unknown input {name!r}")
    return int(found[1])


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if "error:" in line), lines[0] if lines else type(error).__name__)
    return told.rpartition("error:")[2].strip()[:200]


def _faster(ours: Callable[[Any], Any], theirs: Callable[[Any], Any], features: Any) -> bool:
    """Return whether one call takes less time than the other, for one row and for several."""
    for rows in (1, min(TIMED_ROWS, count(features))):
        some = pick(features, slice(0, rows))
        if shortest(partial(ours, some), TIMED_SECONDS) >= shortest(partial(theirs, some), TIMED_SECONDS):
            return False
    return True
