"""Orders: will an order be paid late? A table with missing values, dates and new categories, three kinds of model.

The files come from an office: semicolons, a byte-order mark, decimal commas, empty cells. The package reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.recipe import Column, Columns, Csv, Parameter, Recipe, Refused, State, Value

if TYPE_CHECKING:
    import keras

    from chandlery.frameworks.sklearn import SklearnModel
    from chandlery.frameworks.xgboost import XGBoostModel

NUMBERS = ("amount", "weight", "earlier_orders")


def days(text: str) -> int:
    """Return the days since 1 January 1970 of a date such as 2026-03-31."""
    try:
        return (date.fromisoformat(text) - date(1970, 1, 1)).days
    except ValueError as error:
        raise Refused(f"{str(text)!r} is not a date such as 2026-03-31") from error


class Orders(Recipe):
    """Tells whether an order will be paid late, by a small network."""

    task = "binary"
    schema = (
        Column("ordered", "str", description="date of the order, such as 2026-03-31"),
        Column("due", "str", description="date by which it is to be paid"),
        Column("customer", "str", description="kind of customer; empty when not known"),
        Column("amount", "float64", minimum=0, nullable=True, description="euros"),
        Column("weight", "float64", minimum=0, nullable=True, description="kilograms"),
        Column(
            "earlier_orders", "int64", minimum=0, nullable=True, description="orders of this customer before"
        ),
        Column("late", "bool", description="it was paid after the date due"),
    )
    target = "late"
    classes = ("in time", "late")
    objective = "log_loss"
    files = "**/*.csv"
    csv = Csv(delimiter=";", decimal=",")
    slices = ("customer",)
    search_space = (Parameter("learning_rate", "double", minimum=0.001, maximum=0.05, log=True),)
    defaults = {"learning_rate": 0.01, "epochs": 10, "batch_size": 64}  # noqa: RUF012

    def fit(self, rows: Columns) -> State:
        """Learn what stands in for a missing number, the scale of each number, and the kinds of customers."""
        return {
            "median": [float(np.nanmedian(rows[name])) for name in NUMBERS],
            "scale": [float(np.nanstd(rows[name])) or 1.0 for name in NUMBERS],
            "customers": sorted(set(rows["customer"].tolist()) - {""}),
        }

    def featurize(self, rows: Columns, state: State) -> np.ndarray:
        """Numbers with a mark where they are missing, days to pay, weekday, and a column for each kind of customer."""
        columns = []
        for name, median, scale in zip(NUMBERS, state["median"], state["scale"], strict=True):
            missing = np.isnan(rows[name])
            columns += [np.where(missing, 0, (rows[name] - median) / scale), missing]
        ordered = np.array([days(text) for text in rows["ordered"]])
        due = np.array([days(text) for text in rows["due"]])
        columns += [(due - ordered) / 30, (ordered + 3) % 7 == 5, (ordered + 3) % 7 == 6]
        # A kind that training has not seen has 0 in all of these columns.
        columns += [rows["customer"] == customer for customer in state["customers"]]
        return np.stack(columns, axis=1).astype("float32")

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> keras.Model:
        """Return one hidden layer."""
        import keras

        layers = [keras.layers.Dense(24, activation="relu"), keras.layers.Dense(1, activation="sigmoid")]
        model = keras.Sequential([keras.Input(features.shape[1:]), *layers])
        optimizer = keras.optimizers.Adam(float(parameters["learning_rate"]))
        model.compile(optimizer, "binary_crossentropy", jit_compile=False)
        return model

    def labels(self, rows: Columns) -> np.ndarray:
        """1 for late."""
        return rows["late"].astype("int64")

    def metrics(self, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """Log loss (nats per order) and share of orders told right."""
        late = self.probability(outputs)
        likelihood = np.where(truth, late, 1 - late)
        return {
            "log_loss": float(-np.mean(np.log(np.clip(likelihood, 1e-7, 1)))),
            "accuracy": float(np.mean((late > 0.5) == truth)),
        }

    def answer(self, outputs: np.ndarray) -> Columns:
        """Late or not, and how likely."""
        late = self.probability(outputs)
        return {"late": late > 0.5, "probability": late}

    def probability(self, outputs: np.ndarray) -> np.ndarray:
        """Return how likely each order is late: the last column, whether there are one or two."""
        return np.asarray(outputs.reshape(len(outputs), -1)[:, -1], dtype="float64")

    def wrong(self, prediction: Any, truth: Any) -> bool:
        """Told late where it was in time, or the other way round."""
        return bool(prediction) != bool(truth)


class BoostedOrders(Orders):
    """The same by gradient boosting of scikit-learn."""

    search_space = (Parameter("learning_rate", "double", minimum=0.02, maximum=0.3, log=True),)
    defaults = {"learning_rate": 0.1, "rounds": 60}  # noqa: RUF012

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> SklearnModel:  # type: ignore[override]
        """Return histogram-based gradient boosting."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        from chandlery.frameworks.sklearn import SklearnModel

        rate, rounds = float(parameters["learning_rate"]), int(parameters["rounds"])
        return SklearnModel(HistGradientBoostingClassifier(learning_rate=rate, max_iter=rounds))


class XGBoostOrders(Orders):
    """The same by XGBoost."""

    search_space = (Parameter("depth", "int", minimum=2, maximum=8),)
    defaults = {"depth": 4, "learning_rate": 0.2, "rounds": 60}  # noqa: RUF012

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> XGBoostModel:  # type: ignore[override]
        """Return boosted trees that stop early."""
        from chandlery.frameworks.xgboost import XGBoostModel

        chosen = {
            "objective": "binary:logistic",
            "max_depth": int(parameters["depth"]),
            "eta": float(parameters["learning_rate"]),
        }
        return XGBoostModel(chosen, rounds=int(parameters["rounds"]), early_stopping=10)
