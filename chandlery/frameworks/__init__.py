"""Models that Keras does not train: the protocol that they follow, and how a model package keeps them without pickle.

A recipe's `build` returns a compiled Keras model, or an object with the methods of `TrainableModel`: one of the
adapters here (`SklearnModel`, `XGBoostModel`), or a class of the recipe's own files.

What such a model saves is data. A file that is a pickle is refused when it is written and when it is read, and a
manifest can name the adapters of this package and classes of the recipe's own snapshot, nothing else.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from chandlery.errors import MissingExtraError, ModelLoadError, RecipeError
from chandlery.frameworks.arrays import Features, Labels, Outputs
from chandlery.frameworks.canonical import digest
from chandlery.frameworks.pickles import refuse_pickles

__all__ = [
    "Features",
    "Labels",
    "Outputs",
    "TrainableModel",
    "advice",
    "digest",
    "is_trainable",
    "load",
    "save",
]

OWN = "recipe:"  # before the name of a class of the recipe's own files
METHODS = ("fit", "predict", "save", "load")


@runtime_checkable
class TrainableModel(Protocol):
    """A model that trains itself. It needs no base class: these names are enough.

    Attributes:
        flavour: MLflow's name of its files' format, `sklearn` or `xgboost`; "" for a format that MLflow does not know.
    """

    flavour: str

    def fit(
        self, features: Features, labels: Labels, *, validation: tuple[Features, Labels], seed: int
    ) -> Iterable[Mapping[str, float]] | None:
        """Train from the beginning; what an earlier call learnt is forgotten.

        Args:
            features: what `featurize` returned for the training rows: an array (n, ...) or named arrays of n rows.
            labels: what `labels` returned for them, n rows.
            validation: features and labels of the validation rows, to stop early and to draw curves. No row of them is
                trained on.
            seed: 0 to 2**32 - 1. All that is random comes from it: equal arguments, equal models.

        Returns:
            None, or figures by name for each round (`training_loss`, `loss` on the validation rows). It may be a
            generator that trains as it is read: the model is trained when it has ended.
        """

    def predict(self, features: Features) -> Outputs:
        """Return the outputs for n rows of features; each row's outputs depend on that row alone."""

    def save(self, folder: Path) -> None:
        """Write the trained model below `folder`, which is there and empty. No pickle."""

    @classmethod
    def load(cls, folder: Path) -> TrainableModel:
        """Return the model that `save` wrote to `folder`; it predicts to the last bit as before."""


def _sklearn() -> type[TrainableModel]:
    from chandlery.frameworks.sklearn import SklearnModel

    return SklearnModel


def _xgboost() -> type[TrainableModel]:
    from chandlery.frameworks.xgboost import XGBoostModel

    return XGBoostModel


# The classes outside the recipe that a manifest may name. A name is looked up here, never imported.
ADAPTERS: dict[str, Callable[[], type[TrainableModel]]] = {
    "chandlery.frameworks.sklearn:SklearnModel": _sklearn,
    "chandlery.frameworks.xgboost:XGBoostModel": _xgboost,
}


def is_trainable(model: object) -> bool:
    """Return whether an object is one of a `TrainableModel`'s kind, and not a Keras model."""
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(model, keras.Model):
        return False
    return not isinstance(model, type) and all(callable(getattr(model, name, None)) for name in METHODS)


def advice(model: object) -> str:
    """Return what to do about an object that `build` returned and that is not a model; one line."""
    module = type(model).__module__.partition(".")[0]
    if module == "xgboost":
        return "return chandlery.frameworks.xgboost.XGBoostModel(model)"
    if module == "sklearn" or hasattr(model, "get_params"):
        return "return chandlery.frameworks.sklearn.SklearnModel(model)"
    return (
        "return a compiled Keras model, or an object with fit, predict, save and load (chandlery.frameworks)"
    )


def save(model: TrainableModel, folder: Path, module: types.ModuleType | None = None) -> dict[str, str]:
    """Write a trained model to `folder`, which is made.

    Args:
        model: the model.
        folder: where; must not exist or be empty.
        module: the recipe's own module, in which `load` will look for the model's class; not needed for an adapter.

    Returns:
        its description for the manifest: `class` and `flavour`, for `load`.

    Raises:
        RecipeError: the model wrote a pickle, raised, or its class cannot be found again.
    """
    description = {"class": _name(type(model), module), "flavour": str(getattr(model, "flavour", ""))}
    folder.mkdir(parents=True, exist_ok=True)
    try:
        model.save(folder)
    except (RecipeError, ModelLoadError):
        raise
    except Exception as error:
        raise RecipeError(
            f"{type(model).__name__}.save raised {type(error).__name__}: {error}",
            "correct the class and run again",
        ) from error
    if not any(path.is_file() for path in folder.rglob("*")):
        raise RecipeError(
            f"{type(model).__name__}.save wrote no file", "write the model below the folder given"
        )
    try:
        refuse_pickles(folder)
    except ModelLoadError as error:
        raise RecipeError(f"{type(model).__name__}.save: {error.message}", error.hint) from error
    return description


def load(
    description: Mapping[str, Any], folder: Path, module: types.ModuleType | str | None = None
) -> TrainableModel:
    """Load the model that `save` wrote to `folder`.

    Args:
        description: what `save` returned, from a manifest that anyone may have written.
        folder: the files.
        module: the module of the recipe's snapshot, as it was imported from the package, or its name.

    Raises:
        ModelLoadError: the description names a class that is not allowed, a file is a pickle, or the files are damaged.
        MissingExtraError: the library of the model is not installed.
    """
    cls = _class(description.get("class"), sys.modules.get(module) if isinstance(module, str) else module)
    if not folder.is_dir():
        raise ModelLoadError(f"{folder}: the model's files are missing", "train the model again")
    refuse_pickles(folder)
    try:
        model = cls.load(folder)
    except (ModelLoadError, MissingExtraError):
        raise
    except Exception as error:
        raise ModelLoadError(
            f"{folder}: {cls.__name__} cannot load the model: {type(error).__name__}: {_first_line(error)}",
            "train the model again",
        ) from error
    if not is_trainable(model):
        raise ModelLoadError(
            f"{folder}: {cls.__name__}.load returned {type(model).__name__}",
            "return the model that was saved",
        )
    return model


def _name(cls: type, module: types.ModuleType | None) -> str:
    name = f"{cls.__module__}:{cls.__qualname__}"
    if name in ADAPTERS:
        return name
    if module is not None and getattr(module, cls.__name__, None) is not cls:
        raise RecipeError(
            f"{cls.__name__}, which build returned, cannot be found again in {module.__name__.rpartition('.')[2]}.py",
            "define the class at the top of the recipe's file, or import it there by its name",
        )
    return OWN + cls.__name__


def _class(name: object, module: types.ModuleType | None) -> type[TrainableModel]:
    if isinstance(name, str) and name in ADAPTERS:
        return ADAPTERS[name]()
    if isinstance(name, str) and name.startswith(OWN) and module is not None:
        found = getattr(module, name.removeprefix(OWN), None)
        # A class of the recipe's own files: one that these import from a library is not theirs to load.
        package = module.__name__.partition(".")[0]
        if (
            isinstance(found, type)
            and found.__module__.partition(".")[0] == package
            and all(callable(getattr(found, method, None)) for method in METHODS)
        ):
            return cast(type[TrainableModel], found)
    raise ModelLoadError(
        f"the model package names the class {name!r}, which is not allowed",
        "allowed: a class with fit, predict, save and load of its own recipe, " + ", ".join(ADAPTERS),
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")
