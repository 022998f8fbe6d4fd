"""evaluate_model: measure a model on the test split of a dataset."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate_model(
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    classification: dsl.Output[dsl.ClassificationMetrics],
    report: dsl.Output[dsl.HTML],
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> NamedTuple("Outputs", [("objective", float), ("rows", int)]):
    """Measure a model on the test split: metrics with intervals, confusion matrix and ROC or residuals, slices.

    Args:
        dataset: raw data, pinned to its commit.
        model: model package; its own recipe reads the data.
        metrics: figures with their intervals; details in the file.
        classification: confusion matrix and ROC curve; empty for a regression.
        report: HTML page with every table and plot.
        resamples: bootstrap resamples behind each interval.
        confidence: two-sided level of the intervals.
        seed: seed of the resampling.

    Returns:
        objective: the recipe's objective on the test split.
        rows: number of test rows.
    """
    from chandlery.steps.training.evaluate_model import evaluate_model

    return evaluate_model(dataset, model, resamples, confidence, seed, metrics, classification, report)
