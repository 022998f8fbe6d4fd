"""What `mlflow.pyfunc.load_model` makes of a registered version: the model package, asked as the model server asks it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chandlery.errors import UserError
from chandlery.model import LoadedModel


class PackagedModel:
    """A model package with MLflow's method `predict`."""

    def __init__(self, folder: Path) -> None:
        """Load the package in `folder`.

        Raises:
            ModelLoadError: the package is damaged.
            RecipeError: its recipe cannot be loaded.
        """
        self.model = LoadedModel(folder)

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return the recipe's answer for rows, as a DataFrame for a DataFrame and as named arrays for a mapping.

        Args:
            model_input: the input columns: a DataFrame, or a mapping from name to array (n, ...).
            params: MLflow's; none is known.

        Raises:
            RecipeError: a column is missing or unknown, or has the wrong type or shape.
        """
        framed = hasattr(model_input, "to_numpy")
        if not framed and not isinstance(model_input, Mapping):
            raise UserError(
                f"a model takes a DataFrame or a mapping, not {type(model_input).__name__}",
                f"name the columns: {', '.join(c['name'] for c in self.model.manifest.inputs)}",
            )
        names = list(model_input.columns) if framed else list(model_input)
        answer = self.model.answer(
            self.model.recipe.rows({str(name): _column(model_input[name]) for name in names})
        )
        if not framed:
            return answer
        import pandas as pd

        columns = {name: list(values) if values.ndim > 1 else values for name, values in answer.items()}
        return pd.DataFrame(columns, index=model_input.index)


def _column(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype == object and len(array) and not isinstance(array.flat[0], str):
        return np.asarray(array.tolist())  # lists, one a row
    return array


def _load_pyfunc(path: str) -> PackagedModel:
    return PackagedModel(Path(path))
