"""A model measured on a test split: figures with bootstrap intervals, curves of a classification, slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chandlery.arrays import pick
from chandlery.errors import RecipeError, TrainingError
from chandlery.recipe import Recipe, guarded
from chandlery.training.classification import (
    Calibration,
    Roc,
    calibrate,
    class_indices,
    confusion_matrix,
    label_hits,
    probabilities,
    probabilities_of_labels,
    roc_curve,
)
from chandlery.training.fitting import evaluate
from chandlery.training.outcomes import Outcomes
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
        confusion: counts (classes, classes), truth in rows; None where a row may have several labels.
        roc: the ROC curve.
        calibration: the calibration curve.
    """

    confusion: np.ndarray | None
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
        curves: of a classification with one target, also of several labels; otherwise None.
        errors: predictions and truth of a regression with one number a row, each (rows,); otherwise None.
    """

    rows: int
    figures: dict[str, float]
    intervals: dict[str, Interval]
    slices: tuple[Slice, ...]
    curves: Curves | None
    errors: tuple[np.ndarray, np.ndarray] | None


def measure(recipe: Recipe, outcomes: Outcomes, resamples: int, confidence: float, seed: int) -> Evaluation:
    """Measure a model's outputs on labelled rows.

    Args:
        recipe: the model's recipe.
        outcomes: outputs, labels and truth of n rows.
        resamples: bootstrap resamples behind each interval.
        confidence: two-sided level of the intervals, between 0 and 1.
        seed: seed of the resampling.

    Raises:
        RecipeError: a method of the recipe raised.
        TrainingError: outputs that do not fit the classes.
    """
    truth, outputs = outcomes.truth, outcomes.outputs
    figures = evaluate(recipe, truth, outputs)
    intervals = bootstrap(
        lambda chosen: evaluate(recipe, pick(truth, chosen), pick(outputs, chosen)),
        outcomes.rows,
        resamples,
        confidence,
        seed,
    )
    curves = errors = None
    if recipe.classifies() or recipe.task == "multilabel":
        curves = _curves(recipe, outcomes)
    elif recipe.task == "regression" and isinstance(truth, np.ndarray) and truth.ndim == 1:
        predicted = np.asarray(next(iter(guarded(recipe, "answer", outputs).values())), dtype="float64")
        errors = (truth.astype("float64"), predicted) if predicted.shape == truth.shape else None
    return Evaluation(outcomes.rows, figures, intervals, tuple(slices(recipe, outcomes)), curves, errors)


def _curves(recipe: Recipe, outcomes: Outcomes) -> Curves:
    if isinstance(outcomes.outputs, dict) or isinstance(outcomes.labels, dict):
        raise TrainingError(
            f"{type(recipe).__name__} has several outputs or targets and the task {recipe.task}",
            "use task 'custom', and report each output's figures in metrics()",
        )
    count = len(recipe.classes)
    if recipe.task == "multilabel":
        scores = probabilities_of_labels(outcomes.outputs, count)
        hits = label_hits(np.asarray(outcomes.labels), count)
        pairs = np.stack([1 - scores.ravel(), scores.ravel()], axis=1)
        return Curves(None, roc_curve(hits, scores), calibrate(hits.ravel().astype("int64"), pairs))
    scores = probabilities(outcomes.outputs, count)
    truth = class_indices(np.asarray(outcomes.labels), count)
    matrix = confusion_matrix(truth, scores.argmax(axis=1), count)
    return Curves(matrix, roc_curve(truth, scores), calibrate(truth, scores))


def slices(recipe: Recipe, outcomes: Outcomes) -> Iterator[Slice]:
    """Yield the figures of each value of the columns that the recipe names as slices."""
    for column in recipe.slices:
        for label, chosen in _groups(outcomes.slices[column]):
            try:
                figures = evaluate(recipe, pick(outcomes.truth, chosen), pick(outcomes.outputs, chosen))
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
