"""The four networks of the serving benchmarks: one array in, one number out, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chandlery.recipe import Column, Columns, Recipe, Value


class _Network(Recipe):
    task = "regression"
    target = "y"
    objective = "mae"

    def load(self, root: Path) -> Columns:
        """Nothing is trained."""
        raise NotImplementedError

    def featurize(self, rows: Columns) -> np.ndarray:
        """The array as it is."""
        return rows["x"]

    def labels(self, rows: Columns) -> np.ndarray:
        """The target as it is."""
        return rows["y"]

    def answer(self, outputs: np.ndarray) -> Columns:
        """The first output."""
        return {"score": outputs[:, 0]}

    def metrics(self, truth: Any, outputs: Any) -> dict[str, float]:
        """Nothing is evaluated."""
        return {"mae": 0.0}

    def wrong(self, prediction: Any, truth: Any) -> bool:
        """Nothing is judged."""
        return False


class Small(_Network):
    """One hidden layer of 64."""

    schema = (Column("x", "float32", (64,)), Column("y", "float32"))

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> Any:
        """Build it."""
        from keras import Input, Sequential, layers

        return Sequential(
            [Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")]
        )


class Hundred(_Network):
    """One hidden layer of 64 over 100 numbers."""

    schema = (Column("x", "float32", (100,)), Column("y", "float32"))

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> Any:
        """Build it."""
        from keras import Input, Sequential, layers

        return Sequential(
            [Input((100,)), layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")]
        )


class Wide(Small):
    """Three hidden layers of 1,024."""

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> Any:
        """Build it."""
        from keras import Input, Sequential, layers

        hidden = [layers.Dense(1024, activation="relu") for _ in range(3)]
        return Sequential([Input((64,)), *hidden, layers.Dense(10, activation="softmax")])


class Recurrent(_Network):
    """An LSTM of 64 over 100 steps."""

    schema = (Column("x", "float32", (100, 8)), Column("y", "float32"))

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> Any:
        """Build it."""
        from keras import Input, Sequential, layers

        return Sequential([Input((100, 8)), layers.LSTM(64), layers.Dense(1)])


class Convolutional(_Network):
    """Two convolutions over 32 x 32 x 3."""

    schema = (Column("x", "float32", (32, 32, 3)), Column("y", "float32"))

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> Any:
        """Build it."""
        from keras import Input, Sequential, layers

        return Sequential(
            [
                Input((32, 32, 3)),
                layers.Conv2D(32, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(64, 3, activation="relu"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(10, activation="softmax"),
            ]
        )
