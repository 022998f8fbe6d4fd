"""A model measured on a test split: figures with bootstrap intervals, curves of a classification, slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chandlery.errors import RecipeError
from chandlery.recipe import Columns, Recipe, guarded
from chandlery.training.classification import (
    Calibration,
    Roc,
    calibrate,
    class_indices,
    confusion_matrix,
    probabilities,
    roc_curve,
)
from chandlery.training.fitting import evaluate
from chandlery.training.statistics import Interval, bootstrap

MOST_SLICES = 24  # values of one column shown; the rest is pooled
QUARTERS = 4  # a column of measurements is cut into so many slices of equal size


@dataclass(frozen=True)
class Slice:
    """The figures of the rows with one value of a column."""

    column: str
    value: str
    rows: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Curves:
    """Curves of a classification.

    Attributes:
        confusion: counts (classes, classes), truth in rows.
        roc: the ROC curve.
        calibration: the calibration curve.
    """

    confusion: np.ndarray
    roc: Roc
    calibration: Calibration


@dataclass(frozen=True)
class Evaluation:
    """Measurements of a model on labelled rows.

    Attributes:
        rows: number of rows.
        figures: metric name to value.
        intervals: metric name to its bootstrap interval.
        slices: figures of the slices that the recipe names.
        curves: of a classification; None for a regression.
        errors: predictions and truth of a regression, each (rows,); None for a classification.
    """

    rows: int
    figures: dict[str, float]
    intervals: dict[str, Interval]
    slices: tuple[Slice, ...]
    curves: Curves | None
    errors: tuple[np.ndarray, np.ndarray] | None


def measure(
    recipe: Recipe, rows: Columns, outputs: np.ndarray, resamples: int, confidence: float, seed: int
) -> Evaluation:
    """Measure a model's outputs on labelled rows.

    Args:
        recipe: the model's recipe.
        rows: n labelled rows.
        outputs: the model's outputs (n, ...).
        resamples: bootstrap resamples behind each interval.
        confidence: two-sided level of the intervals, between 0 and 1.
        seed: seed of the resampling.

    Raises:
        RecipeError: a method of the recipe raised.
        TrainingError: outputs that do not fit the classes.
    """
    truth = rows[recipe.target]
    figures = evaluate(recipe, truth, outputs)
    intervals = bootstrap(
        lambda chosen: evaluate(recipe, truth[chosen], outputs[chosen]),
        len(truth),
        resamples,
        confidence,
        seed,
    )
    curves = errors = None
    if recipe.task == "classification":
        curves = _curves(recipe, rows, outputs)
    else:
        predicted = np.asarray(next(iter(guarded(recipe, "answer", outputs).values())), dtype="float64")
        errors = truth.astype("float64"), predicted
    return Evaluation(len(truth), figures, intervals, tuple(slices(recipe, rows, outputs)), curves, errors)


def _curves(recipe: Recipe, rows: Columns, outputs: np.ndarray) -> Curves:
    count = len(recipe.classes)
    scores = probabilities(outputs, count)
    truth = class_indices(np.asarray(guarded(recipe, "labels", rows)), count)
    matrix = confusion_matrix(truth, scores.argmax(axis=1), count)
    return Curves(matrix, roc_curve(truth, scores), calibrate(truth, scores))


def slices(recipe: Recipe, rows: Columns, outputs: np.ndarray) -> Iterator[Slice]:
    """Yield the figures of each value of the columns that the recipe names as slices."""
    truth = rows[recipe.target]
    for column in recipe.slices:
        for label, chosen in _groups(rows[column]):
            try:
                figures = evaluate(recipe, truth[chosen], outputs[chosen])
            except RecipeError:
                figures = {}  # some metrics raise where they are undefined, such as on rows of one class
            yield Slice(column, label, int(chosen.sum()), figures)


def _groups(values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    unique, counts = np.unique(values, return_counts=True)
    if values.dtype.kind == "f" and len(unique) > MOST_SLICES:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, QUARTERS + 1)))
        where = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        for index in range(len(edges) - 1):
            if (where == index).any():
                yield f"{edges[index]:.4g} to {edges[index + 1]:.4g}", where == index
        return
    common = unique[np.sort(np.argsort(-counts, kind="stable")[:MOST_SLICES])]
    for value in common:
        yield str(value), values == value
    rest = ~np.isin(values, common)
    if rest.any():
        yield "others", rest
