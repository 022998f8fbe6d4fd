"""Passenger load of departures: how many people will be on board, from what is known days before."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chandlery.recipe import Column, Columns, Parameter, Recipe, Value

if TYPE_CHECKING:
    import keras

ROUTES = ("HAM-OSL", "HAM-GOT", "KEL-OSL", "KEL-GOT", "RST-TRE")
WEATHER = ("calm", "rain", "storm")
SCALE = np.float32(100)  # the model works in hundreds of passengers
TOLERANCE = 40  # passengers; a forecast further off puts the wrong crew on board


class Departures(Recipe):
    """Forecasts the passengers of a departure."""

    task = "regression"
    schema = (
        Column("route", "str", allowed=ROUTES, description="ports of departure and arrival"),
        Column("weekday", "int64", minimum=0, maximum=6, description="0 is Monday"),
        Column("hour", "int64", minimum=0, maximum=23, description="local hour of departure"),
        Column("days_ahead", "int64", minimum=0, maximum=60, description="days until departure"),
        Column("bookings", "int64", minimum=0, description="passengers booked by now"),
        Column("capacity", "int64", minimum=1, description="passengers allowed on board"),
        Column("weather", "str", allowed=WEATHER, description="forecast for the day"),
        Column("passengers", "float64", minimum=0, description="passengers on board in the end"),
    )
    target = "passengers"
    objective = "mae"
    search_space = (
        Parameter("learning_rate", "double", minimum=0.0005, maximum=0.02, log=True),
        Parameter("units", "int", minimum=16, maximum=96, step=16),
        Parameter("layers", "discrete", values=(1, 2, 3)),
        Parameter("activation", "categorical", values=("relu", "gelu")),
    )
    defaults = {  # noqa: RUF012 - the contract reads it and never writes it
        "learning_rate": 0.005,
        "units": 48,
        "layers": 2,
        "activation": "relu",
        "epochs": 20,
        "batch_size": 64,
        "patience": 6,
    }
    slices = ("route", "weather")

    def load(self, root: Path) -> Columns:
        """Read every CSV file below `root`, columns by name."""
        records: list[dict[str, str]] = []
        for path in sorted(root.rglob("*.csv")):
            with path.open(newline="", encoding="utf-8") as lines:
                records.extend(csv.DictReader(lines))
        return {c.name: np.array([record[c.name] for record in records], dtype=c.dtype) for c in self.schema}

    def featurize(self, rows: Columns) -> np.ndarray:
        """One column for each route and weather, time of day and week as points on circles, demand so far."""
        columns = [rows["route"] == route for route in ROUTES]
        columns += [rows["weather"] == weather for weather in WEATHER]
        for name, period in (("hour", 24), ("weekday", 7)):
            angle = rows[name] * (2 * np.pi / period)
            columns += [np.sin(angle), np.cos(angle)]
        columns += [
            np.log1p(rows["days_ahead"]),
            rows["bookings"] / SCALE,
            rows["capacity"] / SCALE,
            rows["bookings"] / rows["capacity"],
        ]
        return np.stack(columns, axis=1).astype("float32")

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> keras.Model:
        """Some dense layers on normalised features."""
        import keras

        normalise = keras.layers.Normalization()
        normalise.adapt(features)
        hidden = [
            keras.layers.Dense(int(parameters["units"]), activation=str(parameters["activation"]))
            for _ in range(int(parameters["layers"]))
        ]
        model = keras.Sequential([keras.Input(features.shape[1:]), normalise, *hidden, keras.layers.Dense(1)])
        optimizer = keras.optimizers.Adam(float(parameters["learning_rate"]))
        model.compile(optimizer, loss="huber", jit_compile=False)
        return model

    def labels(self, rows: Columns) -> np.ndarray:
        """Hundreds of passengers, one column as the model's output has."""
        return (rows["passengers"] / SCALE).astype("float32")[:, None]

    def metrics(self, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """Errors in passengers, and the share of departures that were forecast badly."""
        error = np.abs(self.answer(outputs)["passengers"] - truth)
        return {
            "mae": float(np.mean(error)),
            "rmse": float(np.sqrt(np.mean(error**2))),
            "beyond_tolerance": float(np.mean(error > TOLERANCE)),
        }

    def answer(self, outputs: np.ndarray) -> Columns:
        """Passengers, never less than none."""
        return {"passengers": np.maximum(outputs[:, 0] * SCALE, 0)}

    def wrong(self, prediction: Value, truth: Value) -> bool:
        """Further off than the tolerance."""
        return abs(float(prediction) - float(truth)) > TOLERANCE
