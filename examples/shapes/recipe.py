"""Shapes: which figure is on a small grey image. A convolutional network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.recipe import Column, Columns, Parameter, Recipe, Value

if TYPE_CHECKING:
    import keras

SIDE = 24  # pixels
FIGURES = ("circle", "square", "cross")


class Shapes(Recipe):
    """Tells the figure on an image."""

    task = "multiclass"
    schema = (
        Column("image", "uint8", (SIDE, SIDE), 0, 255, description="grey values, row by row"),
        Column("figure", "str", allowed=FIGURES, description="what was drawn"),
    )
    target = "figure"
    classes = FIGURES
    objective = "accuracy"
    search_space = (
        Parameter("learning_rate", "double", minimum=0.0005, maximum=0.01, log=True),
        Parameter("filters", "int", minimum=8, maximum=32, step=8),
    )
    defaults = {"learning_rate": 0.003, "filters": 16, "epochs": 4, "batch_size": 32}  # noqa: RUF012

    def load(self, root: Path) -> Columns:
        """Read every `.npz` file below `root`: arrays `image` and `figure`."""
        parts = []
        for path in sorted(root.rglob("*.npz")):
            with np.load(path, allow_pickle=False) as archive:
                parts.append((archive["image"], archive["figure"]))
        images = np.concatenate([np.empty((0, SIDE, SIDE), "uint8"), *(image for image, _ in parts)])
        return {
            "image": images,
            "figure": np.concatenate([np.empty(0, "U1"), *(figure for _, figure in parts)]),
        }

    def featurize(self, rows: Columns) -> np.ndarray:
        """Scale to 0..1 and add the one channel."""
        return (rows["image"] / np.float32(255))[..., None].astype("float32")

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> keras.Model:
        """Return two convolutions, each halved, and a dense layer."""
        import keras

        filters = int(parameters["filters"])
        model = keras.Sequential(
            [
                keras.Input(features.shape[1:]),
                keras.layers.Conv2D(filters, 3, activation="relu"),
                keras.layers.MaxPooling2D(),
                keras.layers.Conv2D(2 * filters, 3, activation="relu"),
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                keras.layers.Dense(64, activation="relu"),
                keras.layers.Dense(len(FIGURES), activation="softmax"),
            ]
        )
        optimizer = keras.optimizers.Adam(float(parameters["learning_rate"]))
        model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
        return model

    def labels(self, rows: Columns) -> np.ndarray:
        """Return the number of each figure."""
        return np.array([FIGURES.index(figure) for figure in rows["figure"]], dtype="int64")

    def metrics(self, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """Share of figures told right."""
        return {"accuracy": float(np.mean(np.array(FIGURES)[outputs.argmax(axis=1)] == truth))}

    def answer(self, outputs: np.ndarray) -> Columns:
        """The most likely figure and the probability of each."""
        return {"figure": np.array(FIGURES)[outputs.argmax(axis=1)], "probabilities": outputs}

    def wrong(self, prediction: Any, truth: Any) -> bool:
        """Another figure."""
        return str(prediction) != str(truth)
