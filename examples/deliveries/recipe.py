"""Deliveries: price and days of a delivery. Several inputs, among them text, and two outputs of one network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.recipe import Column, Columns, Parameter, Recipe, State, Value

if TYPE_CHECKING:
    import keras

NUMBERS = ("distance", "weight")
DAYS_OFF, PRICE_OFF = 1.5, 0.25  # what a customer does not forgive: days, and share of the price


class Deliveries(Recipe):
    """Forecasts price and days of a delivery at once."""

    task = "regression"
    schema = (
        Column("goods", "str", description="what is sent, in a few words"),
        Column("port", "str", description="where it goes"),
        Column("distance", "float64", minimum=0, description="sea miles"),
        Column("weight", "float64", minimum=0, description="tonnes"),
        Column("price", "float64", minimum=0, description="euros"),
        Column("days", "float64", minimum=0, description="days until it arrives"),
    )
    target = ("price", "days")
    objective = "mae"
    files = "**/*.parquet"
    search_space = (Parameter("units", "int", minimum=16, maximum=64, step=16),)
    defaults = {"units": 32, "learning_rate": 0.01, "epochs": 12, "batch_size": 64}  # noqa: RUF012

    def fit(self, rows: Columns) -> State:
        """Learn the ports, the words of the goods, and the scales."""
        return {
            "ports": np.unique(rows["port"]),
            "words": sorted({word for text in rows["goods"] for word in str(text).lower().split()}),
            "mean": np.array([rows[name].mean() for name in NUMBERS]),
            "scale": np.array([rows[name].std() for name in NUMBERS]),
        }

    def featurize(self, rows: Columns, state: State) -> dict[str, np.ndarray]:
        """Three inputs by name: texts as they are, and numbers."""
        numbers = np.stack([rows[name] for name in NUMBERS], axis=1)
        return {
            "goods": rows["goods"],
            "port": rows["port"],
            "numbers": ((numbers - state["mean"]) / state["scale"]).astype("float32"),
        }

    def build(
        self, parameters: Mapping[str, Value], features: dict[str, np.ndarray], state: State
    ) -> keras.Model:
        """Return one network with an input for each feature and an output for each target."""
        import keras

        goods = keras.Input((), dtype="string", name="goods")
        port = keras.Input((), dtype="string", name="port")
        numbers = keras.Input(features["numbers"].shape[1:], name="numbers")
        layers = keras.layers
        words = layers.TextVectorization(vocabulary=state["words"], output_mode="multi_hot")(goods)
        ports = layers.StringLookup(vocabulary=state["ports"].tolist(), output_mode="one_hot")(port)
        known = layers.concatenate([words, ports, numbers])
        hidden = layers.Dense(int(parameters["units"]), activation="relu")(known)
        outputs = {
            "price": layers.Dense(1, name="price")(hidden),
            "days": layers.Dense(1, name="days")(hidden),
        }
        model = keras.Model({"goods": goods, "port": port, "numbers": numbers}, outputs)
        optimizer = keras.optimizers.Adam(float(parameters["learning_rate"]))
        model.compile(optimizer, {"price": "mse", "days": "mse"}, jit_compile=False)
        return model

    def labels(self, rows: Columns) -> dict[str, np.ndarray]:
        """Return logarithms, which are of one size: an error is a share of the price, of the days."""
        return {name: np.log(rows[name]).astype("float32")[:, None] for name in self.target}

    def metrics(self, truth: Columns, outputs: dict[str, np.ndarray]) -> dict[str, float]:
        """Mean error as a share, of both and of each."""
        errors = {name: np.abs(outputs[name][:, 0] - np.log(truth[name])) for name in self.target}
        return {
            "mae": float(np.mean([error.mean() for error in errors.values()])),
            **{f"{name}_mae": float(error.mean()) for name, error in errors.items()},
        }

    def answer(self, outputs: dict[str, np.ndarray]) -> Columns:
        """Euros and days."""
        # A forecast far beyond what was ever sent has no number; no price is beyond e^50.
        return {name: np.exp(np.minimum(outputs[name][:, 0], 50)) for name in self.target}

    def wrong(self, prediction: Any, truth: Any) -> bool:
        """Too late, or much dearer or cheaper: both are known by name."""
        late = abs(prediction["days"] - truth["days"]) > DAYS_OFF
        return bool(late or abs(prediction["price"] / truth["price"] - 1) > PRICE_OFF)
