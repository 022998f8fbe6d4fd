"""Gradient boosting by XGBoost, saved in its own JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chandlery.errors import ModelLoadError, RecipeError, TrainingError, require_extra
from chandlery.files import write_json
from chandlery.frameworks.arrays import Features, Labels, Outputs, flat, table

FILE = "model.json"
NOTES = "adapter.json"
THREADS = 2  # how rows are dealt out to threads rounds their sums: a fixed number, and equal models on every machine
ROUNDS = 100
# Metrics of XGBoost for which more is better; each may go on, as in `ndcg@3`.
HIGHER_IS_BETTER = ("auc", "pre", "ndcg", "map")
# Arguments of XGBoost's estimators that are not parameters of the training.
NOT_OURS = frozenset({"missing", "enable_categorical", "feature_types", "feature_weights", "importance_type"})


class XGBoostModel:
    """Boosted trees as a recipe's model.

    Features are an array of numbers (n, k), or named arrays: text columns become categories, an array (n, k) becomes the
    columns `name_0`, `name_1`, ... NaN is a missing value, and so is a category that training did not see.

    Labels are an array (n,), a table (n, k), or named arrays (n,), one a target.

    | objective                             | outputs                                  |
    |---------------------------------------|------------------------------------------|
    | `binary:logistic`                     | probabilities (n, 2)                     |
    | `binary:logistic` on a table (n, k)   | (n, k): the probability of 1             |
    | `multi:softprob`                      | probabilities (n, classes)               |
    | others                                | values (n,) or (n, k)                    |
    | named labels                          | for each name what it would be alone     |
    """

    flavour = "xgboost"

    def __init__(self, parameters: Any, rounds: int = 0, early_stopping: int = 0) -> None:
        """Take XGBoost's parameters.

        Args:
            parameters: a mapping such as `{"objective": "binary:logistic", "max_depth": 4, "eta": 0.1}`, or an
                XGBClassifier or XGBRegressor that is not trained. Where nothing else is said, `nthread` is 2;
                `num_class` is counted.
            rounds: boosting rounds; 0 for `n_estimators` of the parameters, or 100.
            early_stopping: rounds without a better figure of the last `eval_metric` on the validation rows after which
                training ends and the best round is kept; 0 for `early_stopping_rounds` of the parameters, or never.

        Raises:
            MissingExtraError: XGBoost is not installed.
            RecipeError: the parameters name no objective, or hold a function, which cannot be saved.
        """
        require_extra("xgboost", "xgboost")
        given = _given(parameters)
        own_rounds, own_patience = given.pop("n_estimators", 0), given.pop("early_stopping_rounds", 0)
        self._rounds = int(rounds or own_rounds or ROUNDS)
        self._patience = int(early_stopping or own_patience)
        self._given = given
        self._counts_classes = hasattr(
            parameters, "predict_proba"
        )  # an XGBClassifier finds its objective itself
        self._booster: Any = None
        self._objective = ""
        self._linear = False
        self._columns: dict[
            str, list[str] | None
        ] = {}  # column -> its categories; None where it holds numbers
        self._targets: list[str] = []

    def fit(
        self, features: Features, labels: Labels, *, validation: tuple[Features, Labels], seed: int
    ) -> Iterator[Mapping[str, float]]:
        """Train round by round, as the figures are read.

        Yields:
            for each round `training_loss` and `loss` (validation) of the first metric for which less is better, and all
            other metrics by their names, `training_` before those of the training rows.

        Raises:
            TrainingError: XGBoost refuses the features, labels or parameters.
        """
        import xgboost

        self._booster = None
        try:
            wanted, self._targets = table(labels)
            judged = table(validation[1])[0]
            parameters = self._parameters(np.concatenate([wanted, judged]), seed)
            self._columns = _categories(features)
            training = self._matrix(features, wanted)
            watched = [(training, "training")]
            if len(judged):
                watched.append((self._matrix(validation[0], judged), "validation"))
            booster = xgboost.Booster(parameters, [matrix for matrix, _ in watched])
            best, kept, name = 0.0, -1, ""
            for index in range(self._rounds):
                booster.update(training, index)
                metrics = _metrics(booster.eval_set(watched, index))
                yield _figures(metrics)
                if not self._patience:
                    continue
                name = next((m for m in reversed(metrics) if m.startswith("validation-")), "")
                if not name:
                    raise TrainingError(
                        "early stopping has no figure of the validation rows",
                        "name an eval_metric, or do not ask for it",
                    )
                value = metrics[name] * (-1 if _more_is_better(name.partition("-")[2]) else 1)
                if kept < 0 or value < best:
                    best, kept = value, index
                elif index - kept >= self._patience:
                    break
            if kept >= 0 and parameters.get("booster") != "gblinear":  # which holds no rounds to go back to
                booster = booster[: kept + 1]
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            raise TrainingError(
                f"XGBoost cannot train: {_first_line(error)}",
                "check what featurize and labels return, and the parameters",
            ) from error
        self._objective = str(parameters["objective"])
        self._linear = parameters.get("booster") == "gblinear"
        self._booster = booster

    def predict(self, features: Features) -> Outputs:
        """Return the outputs for n rows; see the class for their shapes."""
        if self._booster is None:
            raise TrainingError("the model is not trained", "read what fit returns to its end")
        values = self._array(features)
        found: np.ndarray = (
            self._booster.predict(self._matrix(features, None))
            if self._linear  # inplace_predict knows trees alone
            else self._booster.inplace_predict(values)
        )
        if self._targets:
            each = found.reshape(len(values), -1).T
            pairs = zip(self._targets, each, strict=True)
            return {name: self._shaped(column) for name, column in pairs}
        return self._shaped(found)

    def save(self, folder: Path) -> None:
        """Write the trained model to `folder`."""
        if self._booster is None:
            raise TrainingError("the model is not trained", "read what fit returns to its end")
        (folder / FILE).write_bytes(self._booster.save_raw("json"))
        notes = {
            "objective": self._objective,
            "linear": self._linear,
            "columns": self._columns,
            "targets": self._targets,
        }
        write_json(folder / NOTES, notes)

    @classmethod
    def load(cls, folder: Path) -> XGBoostModel:
        """Load what `save` wrote.

        Raises:
            MissingExtraError: XGBoost is not installed.
            ModelLoadError: a file is damaged, or is not XGBoost's JSON.
        """
        require_extra("xgboost", "xgboost")
        import xgboost

        path = folder / FILE
        try:
            notes = json.loads((folder / NOTES).read_text(encoding="utf-8"))
            data = path.read_bytes()
            if not data.startswith(b"{"):
                raise ModelLoadError(f"{path} is not XGBoost's JSON, and is refused", "train the model again")
            booster = xgboost.Booster(
                {"nthread": 1}
            )  # a row's outputs are its own, however many threads there are
            booster.load_model(bytearray(data))
            model = cls({"objective": str(notes["objective"])})
            model._objective = str(notes["objective"])
            model._linear = bool(notes["linear"])
            model._targets = [str(name) for name in notes["targets"]]
            model._columns = {
                str(name): None if known is None else [str(category) for category in known]
                for name, known in notes["columns"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, xgboost.core.XGBoostError) as error:
            raise ModelLoadError(
                f"{path} is damaged: {type(error).__name__}: {_first_line(error)}",
                "train the model again, or install the version of XGBoost in its requirements.txt",
            ) from error
        model._booster = booster
        return model

    def _parameters(self, labels: np.ndarray, seed: int) -> dict[str, Any]:
        if labels.dtype.kind not in "biuf":
            raise TrainingError(
                f"labels are {labels.dtype}", "let labels return numbers, such as the class's index"
            )
        parameters = {"nthread": THREADS, "seed": seed} | self._given
        if parameters.get("booster") == "gblinear":
            parameters.setdefault(
                "updater", "coord_descent"
            )  # XGBoost's own choice, shotgun, races its threads
        classes = int(labels.max()) + 1 if labels.ndim == 1 and len(labels) else 0
        if self._counts_classes and classes > 2 and str(parameters["objective"]).startswith("binary:"):
            parameters["objective"] = "multi:softprob"
        if str(parameters["objective"]).startswith("binary:") and not np.isin(labels, (0, 1)).all():
            raise TrainingError(
                f"{parameters['objective']} takes labels 0 and 1, and there are others",
                "use multi:softprob for more classes, reg:squarederror for values",
            )
        if parameters["objective"] == "multi:softmax":
            parameters["objective"] = "multi:softprob"  # the same training; its outputs are probabilities
        if str(parameters["objective"]).startswith("multi:"):
            if labels.ndim == 2:
                raise TrainingError(
                    f"{parameters['objective']} takes one target, and labels have {labels.shape[1]}",
                    "use binary:logistic for labels of 0 and 1, or a model for each target",
                )
            parameters.setdefault("num_class", classes)
        return parameters

    def _array(self, features: Features) -> np.ndarray:
        """Return features as numbers (n, k), categories by their index."""
        if not isinstance(features, Mapping):
            array = np.asarray(features)
            if array.dtype.kind not in "biuf" or array.ndim == 0:
                raise TrainingError(
                    f"features are {array.dtype}{list(array.shape)}, and XGBoost takes numbers",
                    "let featurize return text as named arrays: these become categories",
                )
            wide = array.reshape(len(array), math.prod(array.shape[1:]))
            return wide.astype("float32", copy=False)
        columns = flat(features)
        missing = [name for name in self._columns if name not in columns]
        if missing:
            raise TrainingError(
                f"features have no column {missing[0]!r}", f"expected {', '.join(self._columns)}"
            )
        found = []
        for name, known in self._columns.items():
            column = columns[name]
            if known is None:
                found.append(column.astype("float32"))
            else:
                index = {category: float(place) for place, category in enumerate(known)}
                found.append(np.array([index.get(str(v), np.nan) for v in column.tolist()], dtype="float32"))
        return np.column_stack(found)

    def _matrix(self, features: Features, labels: np.ndarray | None) -> Any:
        import xgboost

        kinds = ["q" if known is None else "c" for known in self._columns.values()]
        return xgboost.DMatrix(
            self._array(features),
            label=labels,
            feature_names=_names(self._columns) or None,
            feature_types=kinds or None,
            enable_categorical=True,
            nthread=self._given.get("nthread", THREADS),
        )

    def _shaped(self, found: np.ndarray) -> np.ndarray:
        if self._objective == "binary:logistic" and found.ndim == 1:
            return np.column_stack([1 - found, found])
        return found


def _given(parameters: Any) -> dict[str, Any]:
    if hasattr(parameters, "get_xgb_params"):
        given = {
            name: v for name, v in parameters.get_params().items() if v is not None and name not in NOT_OURS
        }
    elif isinstance(parameters, Mapping):
        given = dict(parameters)
    else:
        raise RecipeError(
            f"XGBoostModel takes parameters or an estimator of XGBoost, not {type(parameters).__name__}",
            'for example XGBoostModel({"objective": "binary:logistic", "max_depth": 4})',
        )
    for ours, other in (("nthread", "n_jobs"), ("seed", "random_state")):
        if other in given:
            given.setdefault(ours, given.pop(other))
    functions = [name for name, value in given.items() if callable(value) or name == "callbacks"]
    if functions:
        raise RecipeError(
            f"XGBoost's parameter {functions[0]!r} is a function, which cannot be saved",
            "use one of XGBoost's own by its name",
        )
    if not isinstance(given.get("objective"), str):
        raise RecipeError(
            "XGBoost's parameters name no objective",
            "for example binary:logistic, multi:softprob, reg:squarederror",
        )
    return given


def _categories(features: Features) -> dict[str, list[str] | None]:
    if not isinstance(features, Mapping):
        return {}
    return {
        name: sorted({str(value) for value in column.tolist()}) if column.dtype.kind in "USO" else None
        for name, column in flat(features).items()
    }


def _names(columns: Iterable[str]) -> list[str]:
    """Return names that XGBoost takes and its JSON keeps, each once."""
    names: list[str] = []
    for column in columns:
        name = "".join(c if c.isprintable() and c not in "[]<" else "_" for c in column)
        names.append(f"{name}_{len(names)}" if name in names else name)
    return names


def _metrics(text: str) -> dict[str, float]:
    # "[3]\ttraining-logloss:0.41\tvalidation-logloss:0.44"; a metric's name may hold a colon of its own.
    pairs = [part.rpartition(":") for part in text.split("\t")[1:]]
    return {name: float(value) for name, _, value in pairs}


def _figures(metrics: Mapping[str, float]) -> dict[str, float]:
    figures: dict[str, float] = {}
    loss = next((n.partition("-")[2] for n in metrics if not _more_is_better(n.partition("-")[2])), "")
    for name, value in metrics.items():
        part, _, metric = name.partition("-")
        shown = "loss" if metric == loss else metric
        figures[f"training_{shown}" if part == "training" else shown] = value
    return figures


def _more_is_better(metric: str) -> bool:
    return metric.startswith(HIGHER_IS_BETTER)


def _first_line(error: Exception) -> str:
    # XGBoost's messages begin with a time and a place in its source.
    line = next(iter(str(error).strip().splitlines()), "")
    return re.sub(r"^\[[\d:]+\] \S+: ?", "", line)
