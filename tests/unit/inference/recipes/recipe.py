"""Two small recipes for the tests of the server: a table with text, and one array."""

from __future__ import annotations

import datetime

import numpy as np

from chandlery.recipe import Column, Columns, Recipe, Refused


class Flights(Recipe):
    """Scalar columns of several types."""

    task = "regression"
    schema = (
        Column("airport", "str", allowed=("HAM", "LEJ"), description="IATA code"),
        Column("hour", "int64", minimum=0, maximum=23),
        Column("wind", "float64", nullable=True, description="m/s"),
        Column("delay", "float64"),
    )
    target = "delay"
    objective = "mae"

    def load(self, root):
        raise NotImplementedError

    def featurize(self, rows: Columns) -> np.ndarray:
        if (rows["hour"] == 13).any():
            raise ValueError("thirteen is bad luck")
        wind = np.nan_to_num(rows["wind"], nan=-1.0)
        return np.stack([rows["hour"], wind, rows["airport"] == "HAM"], axis=1).astype("float32")

    def build(self, parameters, features):
        raise NotImplementedError

    def metrics(self, truth, outputs):
        raise NotImplementedError

    def answer(self, outputs: np.ndarray) -> Columns:
        return {"minutes": outputs.sum(axis=1), "late": outputs.sum(axis=1) > 20}

    def wrong(self, prediction, truth) -> bool:
        return abs(prediction - truth) > 1


class Voyages(Flights):
    """A text and a whole number that may be missing."""

    schema = (
        Column("port", "str", nullable=True),
        Column("crew", "int64", nullable=True),
        Column("delay", "float64"),
    )

    def featurize(self, rows: Columns) -> np.ndarray:
        return np.stack([np.nan_to_num(rows["crew"], nan=-1.0), rows["port"] == ""], axis=1).astype("float32")


class Trips(Flights):
    """Two targets; a prediction is wrong when the minutes are."""

    schema = (Column("hour", "int64"), Column("minutes"), Column("seats", "int64"))
    target = ("minutes", "seats")

    def featurize(self, rows: Columns) -> np.ndarray:
        return rows["hour"].astype("float32")[:, None]

    def answer(self, outputs: np.ndarray) -> Columns:
        return {"seats": outputs[:, 0].astype("int64"), "minutes": 10 * outputs[:, 0]}

    def wrong(self, prediction, truth) -> bool:
        return abs(prediction["minutes"] - truth["minutes"]) > 1


class Dated(Flights):
    """A text column that not every text fits, as a date."""

    schema = (
        Column("day", "str", description="ISO date"),
        Column("wind", "float64", nullable=True),
        Column("delay", "float64"),
    )

    def featurize(self, rows: Columns) -> np.ndarray:
        days = np.array([datetime.date.fromisoformat(day).toordinal() for day in rows["day"].tolist()])
        return np.stack([days, np.nan_to_num(rows["wind"])], axis=1).astype("float32")


class Choosy(Flights):
    """Refuses some requests before the model sees them, and some answers after."""

    def featurize(self, rows: Columns) -> np.ndarray:
        if (rows["wind"] > 50).any():
            raise Refused("no flight in a hurricane; ask for wind of at most 50 m/s")
        return super().featurize(rows)

    def answer(self, outputs: np.ndarray) -> Columns:
        if (outputs[:, 1] < -10).any():
            raise Refused("the wind cannot be less than calm")
        return super().answer(outputs)


class Scan(Recipe):
    """One column whose rows are arrays; the answer holds text."""

    task = "classification"
    schema = (Column("pixels", "float32", (2, 2), 0, 16), Column("label", "str"))
    target = "label"
    classes = ("dark", "light")
    objective = "accuracy"

    def load(self, root):
        raise NotImplementedError

    def featurize(self, rows: Columns) -> np.ndarray:
        return rows["pixels"].reshape(-1, 4)

    def build(self, parameters, features):
        raise NotImplementedError

    def metrics(self, truth, outputs):
        raise NotImplementedError

    def answer(self, outputs: np.ndarray) -> Columns:
        light = outputs.mean(axis=1) > 8
        return {"label": np.where(light, "light", "dark"), "shares": outputs[:, :2] / 16}

    def wrong(self, prediction, truth) -> bool:
        return prediction != truth


class Words(Flights):
    """One column of texts."""

    schema = (Column("text", "str"), Column("delay", "float64"))

    def featurize(self, rows: Columns) -> np.ndarray:
        return np.char.str_len(rows["text"]).astype("float32")[:, None]


class Thumbs(Scan):
    """One column of bytes."""

    schema = (Column("pixels", "uint8", (2, 2)), Column("label", "str"))
