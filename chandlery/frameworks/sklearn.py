"""Estimators and pipelines of scikit-learn, saved by skops: a file of plain data, checked before an object is made of it.

A file is loaded when it holds nothing but the types that skops trusts by itself and the few of `TRUSTED`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chandlery.errors import ModelLoadError, RecipeError, TrainingError, require_extra
from chandlery.files import write_json
from chandlery.frameworks.arrays import Features, Labels, Outputs, flat, table
from chandlery.frameworks.trees import check_trees, reachable

FILE = "model.skops"
NOTES = "adapter.json"

# What skops does not trust by itself and is needed by common estimators. Making an object of these runs no code of the
# file. skops leaves trees out because a forged one reads outside its arrays; `check_trees` looks at each.
TRUSTED = [
    "numpy.dtype",  # SimpleImputer, KBinsDiscretizer
    "sklearn._loss.loss.HalfTweedieLossIdentity",  # TweedieRegressor
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.compose._column_transformer._RemainderColsList",  # ColumnTransformer
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",  # HistGradientBoosting*
    "sklearn.feature_selection._univariate_selection.chi2",  # SelectKBest and its kind
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",  # MLP*
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",  # decision trees, forests, GradientBoosting*
    "sklearn.utils._bunch.Bunch",  # VotingClassifier
]


class SklearnModel:
    """A scikit-learn estimator as a recipe's model.

    Features are an array (n, ...), or named arrays: these become a pandas DataFrame with one column for each array (n,)
    and columns `name_0`, `name_1`, ... for an array (n, k), so a ColumnTransformer finds its columns by name. Text is
    a column of `object`.

    Labels are an array (n,), a table (n, k), or named arrays (n,), one a target.

    Outputs: of a classifier with `predict_proba` its probabilities, else what `predict` returns.

    | labels                        | outputs                                                     |
    |-------------------------------|-------------------------------------------------------------|
    | classes 0, 1, ... (n,)        | (n, classes); the column is the class, also where training saw no row of one |
    | other classes (n,)            | (n, classes), in sorted order                                |
    | table (n, k) of 0 and 1       | (n, k): the probability of 1                                 |
    | values (n,) or (n, k)         | the same shape, float64                                      |
    | named arrays                  | for each name what it would be alone                         |
    """

    flavour = "sklearn"

    def __init__(self, estimator: Any) -> None:
        """Take an estimator or a Pipeline, not trained.

        Raises:
            MissingExtraError: scikit-learn or skops is not installed.
            RecipeError: it holds something that cannot be saved safely, such as a function or class of your own.
        """
        require_extra("sklearn", "sklearn", "skops", "pandas")
        # Of the class: some have predict only once they are trained.
        if not all(hasattr(type(estimator), method) for method in ("fit", "predict", "get_params")):
            raise RecipeError(
                f"{type(estimator).__name__} is not an estimator of scikit-learn",
                "give SklearnModel a classifier, a regressor or a Pipeline that ends in one",
            )
        cached = [
            name for name, value in estimator.get_params().items() if value is not None and _is_memory(name)
        ]
        if cached:
            raise RecipeError(
                f"{type(estimator).__name__} has {cached[0]}, a cache of pickles",
                "leave it out: nothing here reads pickles",
            )
        _dumped(estimator)  # before hours of training, not after
        self._given = estimator
        self.estimator = estimator
        # For each target the number of its classes when they are 0, 1, ...; else 0.
        self._classes: list[int] = []
        self._targets: list[str] = []

    def fit(
        self, features: Features, labels: Labels, *, validation: tuple[Features, Labels], seed: int
    ) -> Iterable[Mapping[str, float]] | None:
        """Train a copy of the estimator; each `random_state` that is None, at any depth, becomes the seed.

        Equal arguments give an equal model on machines with equally many cores: sums of HistGradientBoosting are rounded
        by how rows are dealt out to threads. The validation rows only tell which classes there are: an estimator that
        stops early splits off rows of its own.

        Returns:
            the estimator's own loss for each round (`training_loss`) where it has one, else None.

        Raises:
            TrainingError: the estimator refuses the features or labels.
        """
        from sklearn.base import clone, is_classifier

        estimator = clone(self._given)
        unset = {
            name: seed
            for name, value in estimator.get_params(deep=True).items()
            if value is None and name.rpartition("__")[2] == "random_state"
        }
        estimator.set_params(**unset)
        wanted, self._targets = table(labels)
        self._classes = []
        if is_classifier(estimator):
            known = np.concatenate([wanted, table(validation[1])[0]])
            if known.ndim == 2 and not self._targets:
                _check_table(known)
            else:
                self._classes = [_count(column) for column in known.reshape(len(known), -1).T]
        frame = _frame(features)
        try:
            estimator.fit(frame, wanted)
        except Exception as error:
            raise TrainingError(
                f"{type(estimator).__name__} cannot be trained: {type(error).__name__}: {_first_line(error)}",
                "check what featurize and labels return, and the estimator's parameters",
            ) from error
        _predict_in_one_thread(estimator)
        self.estimator = estimator
        last = estimator[-1] if hasattr(estimator, "steps") else estimator
        losses = getattr(last, "loss_curve_", None)
        return None if losses is None else [{"training_loss": float(loss)} for loss in losses]

    def predict(self, features: Features) -> Outputs:
        """Return the outputs for n rows; see the class for their shapes."""
        frame = _frame(features)
        if not hasattr(self.estimator, "predict_proba"):
            values = np.asarray(self.estimator.predict(frame))
            values = values.astype("float64") if values.dtype.kind in "biuf" else values
            if not self._targets:
                return values
            return dict(zip(self._targets, values.reshape(len(values), -1).T, strict=True))
        found = self.estimator.predict_proba(frame)
        classes = self.estimator.classes_
        if self._targets:
            # One array a target, or one table of several: (n,) columns of the probability of 1.
            each = found if isinstance(found, list) else [np.column_stack([1 - p, p]) for p in found.T]
            known = classes if isinstance(classes, list) else [np.array([0, 1])] * len(each)
            return {
                name: _spread(probabilities, np.asarray(own), count)
                for name, probabilities, own, count in zip(
                    self._targets, each, known, self._classes, strict=True
                )
            }
        if isinstance(found, list):
            return np.column_stack(
                [_of_one(p, np.asarray(own)) for p, own in zip(found, classes, strict=True)]
            )
        return _spread(np.asarray(found), np.asarray(classes), sum(self._classes))

    def save(self, folder: Path) -> None:
        """Write the trained estimator to `folder`.

        Raises:
            RecipeError: training left something in it that cannot be saved safely.
        """
        (folder / FILE).write_bytes(_dumped(self.estimator))
        write_json(folder / NOTES, {"classes": self._classes, "targets": self._targets})

    @classmethod
    def load(cls, folder: Path) -> SklearnModel:
        """Load what `save` wrote.

        Raises:
            MissingExtraError: scikit-learn or skops is not installed.
            ModelLoadError: the file is damaged, or holds types that are not trusted; nothing of it was made.
        """
        require_extra("sklearn", "sklearn", "skops", "pandas")
        import skops.io
        from skops.io.exceptions import UntrustedTypesFoundException

        path = folder / FILE
        try:
            notes = json.loads((folder / NOTES).read_text(encoding="utf-8"))
            classes, targets = [int(n) for n in notes["classes"]], [str(name) for name in notes["targets"]]
            if not zipfile.is_zipfile(path):
                raise ModelLoadError(
                    f"{path} is not a file of skops, and is refused", "train the model again"
                )
            estimator = skops.io.load(path, trusted=TRUSTED)
            if not hasattr(estimator, "predict"):
                raise ModelLoadError(f"{path} holds no estimator", "train the model again")
            check_trees(estimator)
        except ModelLoadError:
            raise
        except UntrustedTypesFoundException as error:
            refused = str(error).splitlines()[0].rpartition(": ")[2].rstrip(".")
            raise ModelLoadError(
                f"{path} holds types that are not trusted, and is refused: {refused}",
                "train the model again with estimators of scikit-learn; own functions belong in featurize",
            ) from error
        except Exception as error:
            raise ModelLoadError(
                f"{path} is damaged: {type(error).__name__}: {_first_line(error)}",
                "train the model again, or install the version of scikit-learn in its requirements.txt",
            ) from error
        model = cls.__new__(cls)
        model._given = model.estimator = estimator
        model._classes, model._targets = classes, targets
        return model


def _predict_in_one_thread(estimator: Any) -> None:
    # Threads of a forest add up their trees' outputs in the order in which they end, so the same row would be answered
    # now this way, now that. For one row they also take longer.
    from sklearn.base import BaseEstimator

    for found in reachable(estimator):
        if isinstance(found, BaseEstimator) and vars(found).get("n_jobs") is not None:
            found.n_jobs = 1


def _is_memory(name: str) -> bool:
    return name.rpartition("__")[2] == "memory"


def _dumped(estimator: Any) -> bytes:
    """Return the estimator as a skops archive that `load` will take."""
    import skops.io

    hint = "keep functions and classes of your own in featurize: the model package keeps it as source"
    try:
        data: bytes = skops.io.dumps(estimator, compression=zipfile.ZIP_DEFLATED)
        refused = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED))
    except Exception as error:
        raise RecipeError(
            f"{type(estimator).__name__} cannot be saved without pickle: {_first_line(error)}", hint
        ) from error
    if refused:
        if any(name.startswith("sklearn.neighbors._") for name in refused):
            hint = "use algorithm='brute', whose files are arrays alone"
        elif any(name.startswith("sklearn.model_selection.") for name in refused):
            hint = "return the estimator itself, and search over the recipe's search_space"
        elif all(name.partition(".")[0] in ("sklearn", "numpy", "scipy") for name in refused):
            hint = "use another estimator: these are not among chandlery.frameworks.sklearn.TRUSTED"
        raise RecipeError(
            f"{type(estimator).__name__} cannot be saved safely: it holds {', '.join(refused)}", hint
        )
    return data


def _frame(features: Features) -> Any:
    if not isinstance(features, Mapping):
        return features
    import pandas as pd

    columns = flat(features)
    return pd.DataFrame({n: c.astype(object) if c.dtype.kind in "US" else c for n, c in columns.items()})


def _check_table(labels: np.ndarray) -> None:
    if not np.isin(labels, (0, 1)).all():
        raise TrainingError(
            "a table of labels (n, k) has values other than 0 and 1",
            "return 0 and 1 for each label, or a mapping from target to its classes",
        )


def _count(labels: np.ndarray) -> int:
    """Return how many classes 0, 1, ... there are; 0 when labels are not such."""
    whole = labels.dtype.kind in "biu" or (
        labels.dtype.kind == "f" and bool(np.all(labels == np.floor(labels)))
    )
    return int(labels.max()) + 1 if len(labels) and whole and labels.min() >= 0 else 0


def _spread(probabilities: np.ndarray, classes: np.ndarray, columns: int) -> np.ndarray:
    """Return probabilities with a column for each class 0 ... columns - 1; as they are where `columns` is 0."""
    if not columns or classes.dtype.kind not in "biuf" or probabilities.shape[1] != len(classes):
        return probabilities.astype("float64")
    spread = np.zeros((len(probabilities), max(columns, int(classes.max()) + 1)))
    spread[:, classes.astype("int64")] = probabilities
    return spread


def _of_one(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the probability of class 1, which training may not have seen."""
    where = np.flatnonzero(classes == 1)
    found: np.ndarray = probabilities[:, where[0]] if len(where) else np.zeros(len(probabilities))
    return found


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")
