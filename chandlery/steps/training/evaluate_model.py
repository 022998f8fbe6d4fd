"""The body of `evaluate_model`: a model on the test split of a dataset."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from chandlery import progress
from chandlery.errors import UserError
from chandlery.model import LoadedModel
from chandlery.recipe import Recipe
from chandlery.report import Report
from chandlery.steps.artifacts import Artifact, record_of, write_json
from chandlery.training.dataset import open_rows
from chandlery.training.evaluation import Curves, Evaluation, measure
from chandlery.training.outcomes import outcomes_on_test
from chandlery.training.plots import confusion, residuals, roc_and_calibration
from chandlery.training.statistics import Interval
from chandlery.training.tensorflow import start_tensorflow


class Evaluated(NamedTuple):
    """Outputs of `evaluate_model`; KFP reads them by these names."""

    objective: float
    rows: int


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
        classification: where confusion matrix and ROC curve go; a note in its file for a regression.
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
    outcomes = outcomes_on_test(loaded, open_rows(recipe, Path(dataset.path)))
    found = measure(recipe, outcomes, resamples, confidence, seed)

    data = record_of(dataset)
    record = loaded.provenance.with_(
        run_id=data.run_id,
        task=data.task,
        data_repo=data.data_repo,
        data_branch=data.data_branch,
        data_commit=data.data_commit,
    )
    page = _page(loaded.manifest.recipe.rpartition(":")[2], recipe, found, confidence)
    page.provenance(record).write(report.path)
    _write_metrics(metrics, found, confidence)
    if found.curves is None:
        write_json(classification, {"task": recipe.task, "note": "no curves for this task"})
    else:
        _write_curves(classification, recipe, found.curves)
    for artifact in (metrics, classification, report):
        artifact.metadata.update(record.metadata())

    objective = found.figures[recipe.objective]
    interval = _range(found.intervals[recipe.objective])
    progress.report(
        "evaluated",
        f"{recipe.objective} {objective:.4f} ({interval}) on {found.rows} test rows",
        objective=objective,
        rows=found.rows,
    )
    return Evaluated(objective, found.rows)


def _page(name: str, recipe: Recipe, found: Evaluation, confidence: float) -> Report:
    page = Report(
        f"Evaluation of {name}",
        f"{found.rows} rows of the test split, which neither training nor search has seen",
    )
    page.table(
        "Metrics",
        ["metric", "value", f"{confidence:.0%} interval"],
        [(metric, value, _range(found.intervals[metric])) for metric, value in found.figures.items()],
    )
    if found.curves is not None:
        if found.curves.confusion is not None:
            page.figure("Confusion matrix", confusion(found.curves.confusion, recipe.classes))
        page.figure(
            "Ranking and calibration", roc_and_calibration(found.curves.roc, found.curves.calibration)
        )
    if found.errors is not None:
        page.figure("Errors", residuals(*found.errors))
    if found.slices:
        metrics = list(found.figures)
        rows = [
            (s.column, s.value, s.rows, *(s.metrics.get(metric, float("nan")) for metric in metrics))
            for s in found.slices
        ]
        page.table("Slices", ["column", "value", "rows", *metrics], rows)
    return page


def _write_metrics(metrics: Artifact, found: Evaluation, confidence: float) -> None:
    for name, value in found.figures.items():
        interval = found.intervals[name]
        numbers = {name: value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        # JSON, and so KFP, has no NaN.
        metrics.metadata.update({key: number for key, number in numbers.items() if math.isfinite(number)})
    write_json(
        metrics,
        {
            "rows": found.rows,
            "metrics": found.figures,
            "confidence": confidence,
            "intervals": {name: [i.low, i.high] for name, i in found.intervals.items()},
            "slices": [vars(s) for s in found.slices],
        },
    )


def _write_curves(artifact: Artifact, recipe: Recipe, curves: Curves) -> None:
    roc = curves.roc
    content: dict[str, Any] = {}
    if curves.confusion is not None:
        content["confusionMatrix"] = {
            "annotationSpecs": [{"displayName": name} for name in recipe.classes],
            "rows": [{"row": [float(n) for n in row]} for row in curves.confusion],
        }
    content |= {
        "confidenceMetrics": [
            {"confidenceThreshold": float(t), "recall": float(r), "falsePositiveRate": float(f)}
            for f, r, t in zip(roc.false_positive, roc.true_positive, roc.threshold, strict=True)
        ],
    }
    # The KFP dashboard draws these keys; ClassificationMetrics.log_* writes the same.
    artifact.metadata.update(content)
    write_json(artifact, {"task": recipe.task, "area_under_roc": roc.area, **content})


def _range(interval: Interval) -> str:
    return f"{interval.low:.4g} to {interval.high:.4g}"
