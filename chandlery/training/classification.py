"""Figures of a classifier beyond the recipe's own metrics: confusion matrix, ROC, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chandlery.errors import TrainingError

MOST_POINTS = 100  # of the ROC curve: it travels in artifact metadata


@dataclass(frozen=True)
class Roc:
    """A ROC curve, each class against the rest, pooled over the classes (micro average).

    Attributes:
        false_positive: rates, rising.
        true_positive: rates, rising.
        threshold: score from which on a class counts as predicted, falling, within 0..1.
        area: area under the curve.
    """

    false_positive: np.ndarray
    true_positive: np.ndarray
    threshold: np.ndarray
    area: float


@dataclass(frozen=True)
class Calibration:
    """How often the model is right when it is so sure.

    Attributes:
        confidence: mean probability of the predicted class in each bin.
        accuracy: share of right predictions in each bin.
        error: mean distance of the two, weighted by rows (expected calibration error).
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    error: float


def probabilities(outputs: np.ndarray, classes: int) -> np.ndarray:
    """Return class probabilities (n, classes) of a model's outputs.

    Taken as they are when they are a distribution; one sigmoid output becomes two classes; anything else is
    taken for logits.

    Raises:
        TrainingError: the outputs do not have a column for each class.
    """
    if outputs.ndim == 1 or outputs.shape[1:] == (1,):
        positive = outputs.reshape(-1, 1).astype("float64")
        if positive.size and (positive.min() < 0 or positive.max() > 1):
            positive = 1 / (1 + np.exp(-positive))
        outputs = np.hstack([1 - positive, positive])
    if outputs.ndim != 2 or outputs.shape[1] != classes:
        raise TrainingError(
            f"the model's outputs have shape {['n', *outputs.shape[1:]]} for {classes} classes",
            "return one output for each class, in the order of the recipe's classes",
        )
    scores = outputs.astype("float64")
    if scores.size and scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        return scores
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def class_indices(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the class index of each training label: whole numbers, or one-hot rows.

    Raises:
        TrainingError: a label is outside of the recipe's classes.
    """
    flat = labels.argmax(axis=1) if labels.ndim == 2 and labels.shape[1] > 1 else labels.reshape(-1)
    with np.errstate(invalid="ignore"):  # a value that is not a whole number is refused below
        indices = flat.astype("int64")
    if (len(indices) != len(labels) or not np.array_equal(indices, flat)) or (
        indices.size and (indices.min() < 0 or indices.max() >= classes)
    ):
        raise TrainingError(
            f"a label is not the index of one of the {classes} classes",
            "labels() returns 0 for the first of the recipe's classes, and so on",
        )
    return np.asarray(indices)


def probabilities_of_labels(outputs: np.ndarray, labels: int) -> np.ndarray:
    """Return the probability of each label (n, labels): outputs within 0..1 as they are, others taken for logits.

    Raises:
        TrainingError: the outputs do not have a column for each label.
    """
    if outputs.ndim != 2 or outputs.shape[1] != labels:
        raise TrainingError(
            f"the model's outputs have shape {['n', *outputs.shape[1:]]} for {labels} labels",
            "return one output for each label, in the order of the recipe's classes",
        )
    scores = outputs.astype("float64")
    if scores.size and (scores.min() < 0 or scores.max() > 1):
        scores = np.asarray(1 / (1 + np.exp(-scores)))
    return scores


def label_hits(labels: np.ndarray, count: int) -> np.ndarray:
    """Return which of `count` labels each row has, as booleans (n, count).

    Raises:
        TrainingError: the labels are not a table of 0 and 1 with a column for each.
    """
    if labels.ndim != 2 or labels.shape[1] != count or not np.isin(labels, (0, 1)).all():
        raise TrainingError(
            f"labels() returned shape {list(labels.shape)} for {count} labels",
            "return 0 or 1 for each row and label",
        )
    return np.asarray(labels.astype(bool))


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return counts (classes, classes): true class down, predicted class across."""
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def roc_curve(truth: np.ndarray, scores: np.ndarray) -> Roc:
    """Return the pooled ROC curve of probabilities.

    Args:
        truth: class index of each row (n,), or which labels it has (n, classes).
        scores: probabilities (n, classes).
    """
    hits = truth.astype(bool)
    if truth.ndim == 1:
        hits = np.zeros(scores.shape, dtype=bool)
        hits[np.arange(len(truth)), truth] = True
    order = np.argsort(-scores.ravel(), kind="stable")
    ranked, hit = scores.ravel()[order], hits.ravel()[order]
    # A point of the curve is where the score changes: equal scores give one point.
    last = np.append(np.nonzero(np.diff(ranked))[0], len(ranked) - 1)
    true = np.concatenate([[0.0], np.cumsum(hit)[last] / max(int(hit.sum()), 1)])
    false = np.concatenate([[0.0], np.cumsum(~hit)[last] / max(int((~hit).sum()), 1)])
    threshold = np.concatenate([[1.0], np.clip(ranked[last], 0.0, 1.0)])
    area = float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))
    # Even steps along the curve's length (in the 1-norm) keep its corner, where all that matters happens.
    length = false + true
    chosen = np.unique(np.searchsorted(length, np.linspace(0, length[-1], MOST_POINTS)))
    return Roc(false[chosen], true[chosen], threshold[chosen], area)


def calibrate(truth: np.ndarray, scores: np.ndarray, bins: int = 10) -> Calibration:
    """Return the calibration of probabilities (n, classes) against class indices (n,), in equally wide bins."""
    confidence = scores.max(axis=1)
    right = scores.argmax(axis=1) == truth
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = np.bincount(which, minlength=bins)
    used = rows > 0
    sure = np.bincount(which, confidence, bins)[used] / rows[used]
    share = np.bincount(which, right, bins)[used] / rows[used]
    return Calibration(sure, share, float(np.average(np.abs(sure - share), weights=rows[used])))
