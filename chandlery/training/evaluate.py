"""The work of the `evaluate_model` step: a model on the test split of a dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chandlery import progress
from chandlery.errors import RecipeError, UserError
from chandlery.model import LoadedModel
from chandlery.recipe import Columns, Recipe, guarded
from chandlery.report import Report
from chandlery.training.artifacts import Artifact, record_of, write_json
from chandlery.training.classification import (
    calibrate,
    class_indices,
    confusion_matrix,
    probabilities,
    roc_curve,
)
from chandlery.training.dataset import featurize, read_rows, split
from chandlery.training.fitting import evaluate
from chandlery.training.plots import confusion, residuals, roc_and_calibration
from chandlery.training.statistics import Interval, bootstrap
from chandlery.training.tensorflow import start_tensorflow

MOST_SLICES = 24  # values of one column shown; the rest is pooled
QUARTERS = 4  # a column of measurements is cut into so many slices of equal size


class Evaluated(NamedTuple):
    """What `evaluate_model` returns."""

    objective: float
    rows: int


@dataclass(frozen=True)
class Slice:
    """The figures of the rows with one value of a column."""

    column: str
    value: str
    rows: int
    metrics: dict[str, float]


def evaluate_model(
    dataset: Artifact,
    model: Artifact,
    resamples: int,
    confidence: float,
    seed: int,
    metrics: Artifact,
    classification: Artifact,
    report: Artifact,
) -> Evaluated:
    """Measure a model on the test split: metrics with bootstrap intervals, curves, slices.

    Args:
        dataset: folder of raw data, its commit in the metadata.
        model: model package; its own recipe loads and featurizes.
        resamples: bootstrap resamples behind each interval.
        confidence: two-sided level of the intervals, between 0 and 1.
        seed: seed of the resampling.
        metrics: where the figures go.
        classification: where confusion matrix and ROC curve go; says so in its file for a regression.
        report: where the HTML page goes.

    Returns:
        the objective on the test split and the number of its rows.

    Raises:
        ModelLoadError: the package is damaged.
        RecipeError: a method of the recipe raised.
        TrainingError: no test rows, or outputs that do not fit the classes.
        UserError: an argument is out of range.
    """
    if not 0 < confidence < 1 or resamples < 1:
        raise UserError(
            f"confidence is {confidence} and resamples is {resamples}",
            "confidence lies between 0 and 1, resamples is 1 or more",
        )
    start_tensorflow(seed, deterministic=False)
    loaded = LoadedModel(Path(model.path))
    recipe = loaded.recipe
    test = split(recipe, read_rows(recipe, Path(dataset.path))).test
    outputs = loaded.forward(featurize(recipe, test))
    truth = test[recipe.target]
    figures = evaluate(recipe, truth, outputs)
    intervals = bootstrap(
        lambda chosen: evaluate(recipe, truth[chosen], outputs[chosen]),
        len(truth),
        resamples,
        confidence,
        seed,
    )
    slices = list(_slices(recipe, test, outputs))

    data = record_of(dataset)
    record = loaded.provenance.with_(
        run_id=data.run_id,
        task=data.task,
        data_repo=data.data_repo,
        data_branch=data.data_branch,
        data_commit=data.data_commit,
    )
    page = Report(
        f"Evaluation of {loaded.manifest.recipe.rpartition(':')[2]}",
        f"{len(truth)} rows of the test split, which neither training nor search has seen",
    )
    page.table(
        "Metrics",
        ["metric", "value", f"{confidence:.0%} interval"],
        [(name, value, _range(intervals[name])) for name, value in figures.items()],
    )
    if recipe.task == "classification":
        _classification(recipe, test, outputs, classification, page)
    else:
        predicted = np.asarray(next(iter(guarded(recipe, "answer", outputs).values())), dtype="float64")
        page.figure("Errors", residuals(truth.astype("float64"), predicted))
        write_json(classification, {"task": recipe.task, "note": "not a classification"})
    if slices:
        names = list(figures)
        rows = [
            (s.column, s.value, s.rows, *(s.metrics.get(name, float("nan")) for name in names))
            for s in slices
        ]
        page.table("Slices", ["column", "value", "rows", *names], rows)
    page.provenance(record).write(report.path)

    for name, value in figures.items():
        found = {name: value, f"{name}_low": intervals[name].low, f"{name}_high": intervals[name].high}
        # JSON, and so KFP, has no NaN.
        metrics.metadata.update({key: number for key, number in found.items() if math.isfinite(number)})
    write_json(
        metrics,
        {
            "rows": len(truth),
            "metrics": figures,
            "confidence": confidence,
            "intervals": {name: [i.low, i.high] for name, i in intervals.items()},
            "slices": [vars(s) for s in slices],
        },
    )
    for artifact in (metrics, classification, report):
        artifact.metadata.update(record.metadata())
    objective = figures[recipe.objective]
    progress.report(
        "evaluated",
        f"{recipe.objective} {objective:.4f} ({_range(intervals[recipe.objective])}) on {len(truth)} test rows",
        objective=objective,
        rows=len(truth),
    )
    return Evaluated(objective, len(truth))


def _classification(
    recipe: Recipe, test: Columns, outputs: np.ndarray, artifact: Artifact, page: Report
) -> None:
    count = len(recipe.classes)
    scores = probabilities(outputs, count)
    truth = class_indices(np.asarray(guarded(recipe, "labels", test)), count)
    matrix = confusion_matrix(truth, scores.argmax(axis=1), count)
    roc = roc_curve(truth, scores)
    page.figure("Confusion matrix", confusion(matrix, recipe.classes))
    page.figure("Ranking and calibration", roc_and_calibration(roc, calibrate(truth, scores)))
    content: dict[str, Any] = {
        "confusionMatrix": {
            "annotationSpecs": [{"displayName": name} for name in recipe.classes],
            "rows": [{"row": [float(n) for n in row]} for row in matrix],
        },
        "confidenceMetrics": [
            {"confidenceThreshold": float(t), "recall": float(r), "falsePositiveRate": float(f)}
            for f, r, t in zip(roc.false_positive, roc.true_positive, roc.threshold, strict=True)
        ],
    }
    # These keys are what the KFP dashboard draws; ClassificationMetrics.log_* writes the same.
    artifact.metadata.update(content)
    write_json(artifact, {"task": recipe.task, "area_under_roc": roc.area, **content})


def _slices(recipe: Recipe, rows: Columns, outputs: np.ndarray) -> Iterator[Slice]:
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


def _range(interval: Interval) -> str:
    return f"{interval.low:.4g} to {interval.high:.4g}"
