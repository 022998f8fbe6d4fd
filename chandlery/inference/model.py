"""The model class, in Seldon's Python contract: our server and `seldon-core-microservice` run the same one.

It needs nothing but numpy, TensorFlow and Chandlery's own model package, so that it lives in the environment that
Seldon's wrapper forces on it (Python 3.11, numpy 1.26, protobuf 3.20).

    MODEL_URI=/mnt/models seldon-core-microservice chandlery.inference.model.ChandleryModel
"""

from __future__ import annotations

import importlib
import math
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chandlery.errors import ChandleryError, ModelLoadError, RecipeError
from chandlery.example import example_text, read_example
from chandlery.inference.cores import cores
from chandlery.inference.layout import columns_of_json, columns_of_table, places, records_of, table_of_answers
from chandlery.inference.refusal import INTERNAL, Refused
from chandlery.inference.settings import Settings, from_environment
from chandlery.inference.source import fetch, version_of
from chandlery.inference.tuning import tune
from chandlery.model import KERAS, TENSORFLOW, LoadedModel, Manifest, choose_runtime, read_manifest
from chandlery.progress import report
from chandlery.recipe import Columns, Recipe
from chandlery.recipe import Refused as RecipeRefused

# numpy type -> name of the type in the Open Inference Protocol
DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "str": "BYTES",
}


class ChandleryModel:
    """A registered model with its recipe: request -> rows -> featurize -> model -> answer.

    Args:
        model_uri: folder of a model package or `models:/name/version`; empty: from the environment.
        settings: for our own server, which has read the environment already.
    """

    def __init__(self, model_uri: str = "", settings: Settings | None = None) -> None:
        environment = dict(os.environ) | ({"MODEL_URI": model_uri} if model_uri else {})
        self.settings = settings or from_environment(environment)
        self.folder: Path = fetch(self.settings.model_uri)
        self.manifest: Manifest = read_manifest(self.folder)
        self.example: str = example_text(self.folder)  # JSON, {column: [value]}
        self.answer_columns: dict[str, tuple[str, tuple[int, ...]]] = {}
        self.call_seconds = math.inf  # of a call for one row, once it is loaded and warm
        self._loaded: LoadedModel | None = None
        self._pending: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """Name under which the model is served."""
        return self.settings.model_name

    @property
    def version(self) -> str:
        """Registered version; without one, the first digits of the model's digest."""
        return (
            self.settings.model_version
            or version_of(self.settings.model_uri)
            or self.manifest.provenance.get("chandlery.model_version", "")
            or self.manifest.digest[:12]
        )

    @property
    def recipe(self) -> Recipe:
        """The recipe that the model was trained with."""
        return self._model.recipe

    @property
    def runtime(self) -> str:
        """What computes: `tensorflow`, `litert`, or the name of another framework."""
        return self._model.runtime

    @property
    def exact(self) -> bool:
        """Whether a row's answer does not depend, to the last bit, on what shares its batch."""
        return self._model.exact

    @property
    def _model(self) -> LoadedModel:
        # Seldon's wrapper swallows an AttributeError of load(), so a model that is not there has to raise by itself.
        if self._loaded is None:
            raise ModelLoadError(f"{self.folder}: the model is not loaded", "see the first error of the log")
        return self._loaded

    def needs_tensorflow(self) -> bool:
        """Return whether `load` will import TensorFlow, as far as the manifest and the settings tell.

        Raises:
            UserError: the settings ask for a runtime that cannot be.
        """
        if self.manifest.framework.get("class") != KERAS["class"]:
            return False
        return choose_runtime(self.manifest, bool(self.settings.exact), self.settings.runtime) == TENSORFLOW

    def load(self) -> None:
        """Load the model and let it answer once, so that the first request is as fast as the next.

        Raises:
            ModelLoadError: the package is damaged, or the model does not answer.
            RecipeError: its recipe cannot be loaded.
        """
        try:
            loaded = LoadedModel(
                self.folder, self.settings.runtime, self.settings.exact, self.settings.threads or cores()
            )
        except ChandleryError:
            raise
        except Exception as error:
            raise ModelLoadError(
                f"{self.folder}: cannot be loaded: {type(error).__name__}: {error}", "train the model again"
            ) from error
        self._warm_up(loaded)
        self._loaded = loaded

    def _warm_up(self, loaded: LoadedModel) -> None:
        example = read_example(self.folder, loaded.recipe.inputs())
        try:
            features = loaded.featurize(example)
        except Exception as error:
            # Texts have no smallest value: a recipe may rightly refuse the empty one. The first request warms up.
            report(
                "model.cold",
                f"not warmed up: featurize refuses an example row: {type(error).__name__}: {error}",
            )
            return
        try:
            self._learn(loaded.recipe.answer(loaded.forward(features)))
            tune(loaded, features, self.settings.max_batch, self.settings.tune_seconds)
            began = time.perf_counter()
            loaded.forward(features)
            self.call_seconds = time.perf_counter() - began
        except RecipeRefused as refused:
            report("model.cold", f"not warmed up: answer refuses an example row: {refused.message}")
        except Exception as error:
            raise ModelLoadError(
                f"{self.folder}: the model does not answer: {type(error).__name__}: {error}",
                "train the model again",
            ) from error

    def _learn(self, answers: Columns) -> None:
        self.answer_columns = {name: (_type_name(a.dtype), a.shape[1:]) for name, a in answers.items()}

    def rows(self, data: Any, names: Iterable[str] | None = None) -> Columns:
        """Turn the data of a request into raw rows.

        Args:
            data: table (n, places), array (n, *shape), or a mapping from column name to n values.
            names: names of the places of a table; empty: the recipe's order.

        Raises:
            Refused: the data fits neither the recipe nor a table of it.
        """
        columns = self.recipe.inputs()
        if isinstance(data, Mapping):
            request = columns_of_json(columns, data)
        elif isinstance(data, np.ndarray):
            request = columns_of_table(columns, data, list(names) if names is not None else [])
        else:
            raise Refused(400, f"data is {type(data).__name__}; send data.ndarray, data.tensor or jsonData")
        return self.checked(request)

    def checked(self, request: Mapping[str, np.ndarray]) -> Columns:
        """Let the recipe check and convert the arrays of a request.

        Raises:
            Refused: they do not fit, or there is no row.
        """
        try:
            rows = self.recipe.rows(request)
        except RecipeError as error:
            raise refusal_of(error) from error
        except Exception as error:
            raise Refused(
                500, f"the recipe's rows() raised {type(error).__name__}: {error}", INTERNAL
            ) from error
        if count(rows) == 0:
            raise Refused(400, "the request has no row")
        return rows

    def answers(self, rows: Columns) -> Columns:
        """Return the recipe's answer for n raw rows; whatever the recipe raises comes out as it is."""
        answers = self._model.answer(rows)
        if not self.answer_columns:
            self._learn(answers)
        return answers

    def predict(self, X: Any, names: Iterable[str] | None = None, meta: Any = None) -> Any:  # noqa: N803
        """Answer a request, in Seldon's contract.

        Args:
            X: table of numbers or text, or a mapping from column name to values (`jsonData`).
            names: names of the table's places.
            meta: the request's meta; not used.

        Returns:
            a table (n, places) named by `class_names`, or for a mapping a mapping from answer column to values.
        """
        try:
            answers = self.answers(self.rows(X, names))
        except Refused as refused:
            raise _seldon_error(refused) from refused
        except RecipeError as error:
            raise _seldon_error(refusal_of(error)) from error
        if isinstance(X, Mapping):
            return {name: values.tolist() for name, values in answers.items()}
        return table_of_answers(answers)[1]

    def class_names(self) -> list[str]:
        """Return the names of the places of an answer."""
        return [place for name, (_, shape) in self.answer_columns.items() for place in places(name, shape)]

    def tags(self) -> dict[str, str]:
        """Return the tags of every answer: the predictor and the model version that gave it, and `exact` if it is."""
        known = {
            "predictor": self.settings.predictor,
            "model_name": self.name,
            "model_version": self.version,
            "exact": "true" if self._model.exact else "",
        }
        return {name: value for name, value in known.items() if value}

    def send_feedback(
        self,
        features: Any,
        feature_names: Iterable[str],
        reward: float,
        truth: Any,
        routing: Any = None,
    ) -> list[Any]:
        """Judge the prediction for `features` by `truth`, or by the reward without one; counted through `metrics`.

        Seldon's wrapper hands over no answer, so the model answers again.
        """
        outcomes = [reward < 0.5]
        if np.size(truth) and np.size(features):
            answers = self.answers(self.rows(features, feature_names))
            outcomes = [
                bool(self.recipe.wrong(p, t)) for p, t in zip(*self._pairs(answers, truth), strict=True)
            ]
        self._pending += [
            {
                "type": "COUNTER",
                "key": "chandlery_feedback",
                "value": 1,
                "tags": {"outcome": "wrong" if wrong else "right"},
            }
            for wrong in outcomes
        ]
        return []

    def _pairs(self, answers: Columns, truth: Any) -> tuple[list[Any], list[Any]]:
        """Return prediction and truth of each row as `wrong` takes them; of several targets by name, in their order."""
        if isinstance(self.recipe.target, str):
            return next(iter(answers.values())).tolist(), np.ravel(truth).tolist()
        targets = self.recipe.targets()
        table = np.reshape(truth, (-1, len(targets))).tolist()
        return (
            records_of(answers),
            [dict(zip(targets, row, strict=True)) for row in table],
        )

    def metrics(self) -> list[dict[str, Any]]:
        """Return the counters that Seldon's wrapper adds up: outcomes since it last asked."""
        pending, self._pending = self._pending, []
        return pending

    def health_status(self) -> list[int]:
        """Return a line of health; raises when the model is not loaded."""
        return [int(self._model is not None)]

    def init_metadata(self) -> dict[str, Any]:
        """Return Seldon's model metadata; asked for before `load`."""
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": "chandlery",
            "inputs": [
                {"name": c["name"], "datatype": DATATYPES[c["dtype"]], "shape": [-1, *c["shape"]]}
                for c in self.manifest.inputs
            ],
            "outputs": self.outputs(),
            "custom": {
                "task": self.manifest.task,
                "digest": self.manifest.digest,
                "recipe_digest": self.manifest.recipe_digest,
                **({"runtime": self.runtime, "exact": self.exact} if self._loaded is not None else {}),
                **({"example": self.example} if self.example else {}),
            },
        }

    def outputs(self) -> list[dict[str, Any]]:
        """Return the answer columns as tensors of the Open Inference Protocol; empty before `load`."""
        return [
            {"name": name, "datatype": DATATYPES[kind], "shape": [-1, *shape]}
            for name, (kind, shape) in self.answer_columns.items()
        ]


def refusal_of(error: RecipeError) -> Refused:
    """Return the answer to a request that the recipe does not take."""
    return Refused(400, f"{error.message}; {error.hint}" if error.hint else error.message)


def count(rows: Columns) -> int:
    """Return the number of rows."""
    return len(next(iter(rows.values())))


def _type_name(dtype: np.dtype[Any]) -> str:
    return "str" if dtype.kind in "UOS" else str(dtype)


def _seldon_error(refused: Refused) -> Exception:
    # Only inside Seldon's wrapper: an exception of its own class becomes a 400 where any other becomes a 500.
    if "seldon_core" not in sys.modules:
        return refused
    module = importlib.import_module("seldon_core.flask_utils")
    error: Exception = module.SeldonMicroserviceException(
        refused.info, status_code=refused.status, reason=refused.reason
    )
    return error
