"""Handwritten digits: which digit is on an 8 x 8 scan. The recipe to copy when you write your own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chandlery.recipe import Column, Columns, Parameter, Recipe, Value

if TYPE_CHECKING:
    import keras

PIXELS = 64


class Digits(Recipe):
    """Tells the digit of a scan and how sure it is."""

    task = "classification"
    schema = (
        Column("pixels", "float32", (PIXELS,), 0, 16, description="ink of each pixel, row by row"),
        Column("label", "int64", allowed=tuple(range(10)), description="the digit a person read"),
    )
    target = "label"
    classes = tuple("0123456789")
    objective = "accuracy"
    search_space = (
        Parameter("learning_rate", "double", minimum=0.0005, maximum=0.02, log=True),
        Parameter("units", "int", minimum=16, maximum=128),
        Parameter("dropout", "double", minimum=0.0, maximum=0.4),
        Parameter("activation", "categorical", values=("relu", "tanh", "gelu")),
    )
    defaults = {  # noqa: RUF012 - the contract reads it and never writes it
        "learning_rate": 0.003,
        "units": 64,
        "dropout": 0.1,
        "activation": "relu",
        "epochs": 15,
        "batch_size": 32,
    }
    slices = ("label",)

    def load(self, root: Path) -> Columns:
        """Read every CSV file below `root`: 64 pixel columns, then the label."""
        parts = [np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2) for path in sorted(root.rglob("*.csv"))]
        table = np.concatenate([np.empty((0, PIXELS + 1)), *(part for part in parts if part.size)])
        labels = table[:, PIXELS]
        if not np.array_equal(labels, labels.astype("int64")):
            raise ValueError("a label is not a whole number")
        return {"pixels": table[:, :PIXELS].astype("float32"), "label": labels.astype("int64")}

    def featurize(self, rows: Columns) -> np.ndarray:
        """Scale the ink to 0..1."""
        return (rows["pixels"] / np.float32(16)).astype("float32")

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> keras.Model:
        """One hidden layer."""
        import keras

        model = keras.Sequential(
            [
                keras.Input(features.shape[1:]),
                keras.layers.Dense(int(parameters["units"]), activation=str(parameters["activation"])),
                keras.layers.Dropout(float(parameters["dropout"])),
                keras.layers.Dense(len(self.classes), activation="softmax"),
            ]
        )
        # Compiling a network of this size with XLA takes longer than training it.
        model.compile(
            keras.optimizers.Adam(float(parameters["learning_rate"])),
            loss="sparse_categorical_crossentropy",
            jit_compile=False,
        )
        return model

    def metrics(self, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """Share of scans read right, and the log loss (nats per scan)."""
        likelihood = outputs[np.arange(len(truth)), truth]
        return {
            "accuracy": float(np.mean(outputs.argmax(axis=1) == truth)),
            "log_loss": float(-np.mean(np.log(np.clip(likelihood, 1e-7, 1.0)))),
        }

    def answer(self, outputs: np.ndarray) -> Columns:
        """The most likely digit and its probability."""
        return {"digit": outputs.argmax(axis=1), "confidence": outputs.max(axis=1)}

    def wrong(self, prediction: Value, truth: Value) -> bool:
        """A digit read as another one."""
        return int(prediction) != int(truth)


class MislabelledDigits(Digits):
    """The same with a bug in its loader: three digits get a neighbour's label.

    Offline nothing shows, because the model is trained and tested on the same false labels. Only the truth that
    comes back from real traffic tells: what `make demo-bad` is about.
    """

    confusions = ((3, 8), (4, 9), (7, 1))

    def load(self, root: Path) -> Columns:
        """Read the files and decode the labels with a damaged table."""
        table = np.arange(10)
        for digit, false in self.confusions:
            table[digit] = false
        rows = super().load(root)
        # Labels out of range stay as they are, for validation to find.
        known = (rows["label"] >= 0) & (rows["label"] <= 9)
        return rows | {"label": np.where(known, table[rows["label"] * known], rows["label"])}
