"""The pictures of training, evaluation and comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chandlery.recipe import Recipe
from chandlery.report import BAD, GOOD, NEUTRAL, PALETTE, axes
from chandlery.training.classification import Calibration, Roc
from chandlery.training.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAINING, VALIDATION = PALETTE[0], PALETTE[1]
MOST_POINTS = 3000  # of a scatter plot: a page stays below a megabyte


def learning_curves(recipe: Recipe, history: Sequence[Mapping[str, float]], kept: int) -> Figure:
    """Return loss and objective over epochs; `kept` is the epoch (from 1) whose weights were kept.

    A model that trains itself may tell some figures only, or those of the last round alone: what is missing is left out.
    """
    figure, (left, right) = axes(columns=2)
    epochs = [figures["epoch"] for figures in history]
    for name, colour, label in (("training_loss", TRAINING, "training"), ("loss", VALIDATION, "validation")):
        if any(name in figures for figures in history):
            left.plot(epochs, [f.get(name, float("nan")) for f in history], color=colour, label=label)
    left.set(title="loss", xlabel="epoch")
    if left.lines:
        left.legend(frameon=False)
    values = [figures.get(recipe.objective, float("nan")) for figures in history]
    right.plot(epochs, values, color=VALIDATION)
    right.plot([kept], [values[kept - 1]], "o", color=VALIDATION)
    right.annotate(
        f"kept: {values[kept - 1]:.4g}",
        (kept, values[kept - 1]),
        xytext=(-6, -14 if recipe.maximise() else 8),
        textcoords="offset points",
        ha="right" if kept > len(values) / 2 else "left",
    )
    right.set(title=f"{recipe.objective}, validation", xlabel="epoch")
    for ax in (left, right):
        ax.locator_params(axis="x", integer=True)
    return figure


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """Return the confusion matrix (true classes down, predicted across) as counts shaded by share of the true class."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(1.6 + 0.42 * len(classes), 3.4, 9.0))
    figure, (ax,) = axes(width=side + 0.6, height=side)
    ax.grid(visible=False)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(classes)), classes, rotation=90 if max(map(len, classes)) > 3 else 0)
    ax.set_yticks(range(len(classes)), classes)
    ax.set(xlabel="predicted", ylabel="true")
    if len(classes) <= 20:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            shade = "white" if shares[row, column] > 0.55 else "#1c2530"
            ax.text(column, row, str(matrix[row, column]), ha="center", va="center", color=shade, fontsize=9)
    return figure


def roc_and_calibration(roc: Roc, calibration: Calibration) -> Figure:
    """Return the ROC curve and the reliability diagram side by side."""
    figure, (left, right) = axes(columns=2, height=4.0)
    left.plot([0, 1], [0, 1], "--", color=NEUTRAL, linewidth=0.8)
    left.plot(roc.false_positive, roc.true_positive, color=TRAINING)
    left.set(
        title=f"ROC, each class against the rest: area {roc.area:.4f}",
        xlabel="false positives",
        ylabel="true positives",
    )
    right.plot([0, 1], [0, 1], "--", color=NEUTRAL, linewidth=0.8)
    right.plot(calibration.confidence, calibration.accuracy, "o-", color=VALIDATION)
    right.set(
        title=f"calibration: expected error {calibration.error:.3f}",
        xlabel="confidence",
        ylabel="share right",
        xlim=(0, 1.02),
        ylim=(0, 1.02),
    )
    return figure


def residuals(truth: np.ndarray, predicted: np.ndarray) -> Figure:
    """Return predicted against true values, and the histogram of the residuals (predicted - true)."""
    figure, (left, right) = axes(columns=2, height=4.0)
    step = max(1, len(truth) // MOST_POINTS)
    left.plot(truth[::step], predicted[::step], ".", color=TRAINING, alpha=0.35, markersize=4)
    ends = [float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max()))]
    left.plot(ends, ends, "--", color=NEUTRAL, linewidth=0.8)
    left.set(title="predicted and true", xlabel="true", ylabel="predicted")
    right.hist(predicted - truth, bins=40, color=VALIDATION)
    right.axvline(0, color=NEUTRAL, linewidth=0.8)
    right.set(title="residuals", xlabel="predicted - true", ylabel="rows")
    return figure


def difference(interval: Interval, observed: float, margin: float, metric: str, better: bool) -> Figure:
    """Return the difference of two models with its one-sided limit, against the margin and zero."""
    figure, (ax,) = axes(height=1.9)
    colour = GOOD if better else BAD
    ax.axvline(0, color=NEUTRAL, linewidth=0.8)
    ax.axvline(-margin, color=BAD, linestyle="--", linewidth=1)
    ax.plot([interval.low, max(interval.high, observed)], [0, 0], color=colour, linewidth=3)
    ax.plot([observed], [0], "o", color=colour, markersize=9)
    ax.annotate("margin", (-margin, 0.62), ha="right", color=BAD, xytext=(-4, 0), textcoords="offset points")
    ax.set(yticks=[], ylim=(-1, 1), xlabel=f"{metric}: challenger's gain over the champion")
    ax.spines["left"].set_visible(False)
    return figure
