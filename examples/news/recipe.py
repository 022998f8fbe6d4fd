"""News: which section a short text belongs to. A vocabulary that is learnt, and an LSTM."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.recipe import Column, Columns, Parameter, Recipe, State, Value

if TYPE_CHECKING:
    import keras

SECTIONS = ("harbour", "sport", "weather", "markets")
LENGTH = 24  # words of a text that the model reads
WORDS = 500  # most words of the vocabulary
PADDING, UNKNOWN = 0, 1  # the first numbers of the vocabulary's words


def words(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return re.findall(r"\w+", text.lower())


class News(Recipe):
    """Tells the section of a text."""

    task = "classification"
    schema = (
        Column("text", "str", description="a headline and a sentence"),
        Column("section", "str", allowed=SECTIONS, description="where an editor put it"),
    )
    target = "section"
    classes = SECTIONS
    objective = "accuracy"
    files = "**/*.csv"
    search_space = (
        Parameter("learning_rate", "double", minimum=0.001, maximum=0.02, log=True),
        Parameter("units", "int", minimum=8, maximum=64, step=8),
    )
    defaults = {"learning_rate": 0.01, "units": 24, "epochs": 4, "batch_size": 32}  # noqa: RUF012

    def fit(self, rows: Columns) -> State:
        """Learn the vocabulary: the most frequent words, of the training rows alone."""
        counts = Counter(word for text in rows["text"] for word in words(text))
        return {
            "vocabulary": [word for word, _ in sorted(counts.items(), key=lambda w: (-w[1], w[0]))[:WORDS]]
        }

    def featurize(self, rows: Columns, state: State) -> np.ndarray:
        """Number the words of each text; int32 (n, LENGTH), filled up with PADDING."""
        number = {word: index for index, word in enumerate(state["vocabulary"], start=UNKNOWN + 1)}
        features = np.full((len(rows["text"]), LENGTH), PADDING, dtype="int32")
        for row, text in enumerate(rows["text"]):
            numbers = [number.get(word, UNKNOWN) for word in words(text)[:LENGTH]]
            features[row, : len(numbers)] = numbers
        return features

    def build(self, parameters: Mapping[str, Value], features: np.ndarray, state: State) -> keras.Model:
        """Return an embedding of the words, and an LSTM over them."""
        import keras

        units = int(parameters["units"])
        model = keras.Sequential(
            [
                keras.Input(features.shape[1:], dtype="int32"),
                keras.layers.Embedding(len(state["vocabulary"]) + UNKNOWN + 1, units, mask_zero=True),
                keras.layers.LSTM(units),
                keras.layers.Dense(len(SECTIONS), activation="softmax"),
            ]
        )
        optimizer = keras.optimizers.Adam(float(parameters["learning_rate"]))
        model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
        return model

    def labels(self, rows: Columns) -> np.ndarray:
        """Return the number of each section."""
        return np.array([SECTIONS.index(section) for section in rows["section"]], dtype="int64")

    def metrics(self, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """Share of texts put into their section."""
        return {"accuracy": float(np.mean(np.array(SECTIONS)[outputs.argmax(axis=1)] == truth))}

    def answer(self, outputs: np.ndarray) -> Columns:
        """The most likely section and its probability."""
        return {"section": np.array(SECTIONS)[outputs.argmax(axis=1)], "confidence": outputs.max(axis=1)}

    def wrong(self, prediction: Any, truth: Any) -> bool:
        """Another section."""
        return str(prediction) != str(truth)
