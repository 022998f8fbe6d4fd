"""A recipe without a model, for tests that need its answers alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from chandlery.recipe import Columns, Recipe, Value


class Answers(Recipe):
    """The model's output is its one column `x`; a subclass says what the truth is and which answer is wrong."""

    task = "regression"
    objective = "mae"

    def load(self, root: Path) -> Columns:
        """Nothing is loaded."""
        return {}

    def featurize(self, rows: Columns) -> np.ndarray:
        """As it is."""
        return rows["x"]

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> None:
        """Nothing is built."""
        raise NotImplementedError

    def metrics(self, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """Nothing is measured."""
        return {}

    def answer(self, outputs: np.ndarray) -> Columns:
        """As it is, under the name of the target."""
        return {self.target: outputs}
