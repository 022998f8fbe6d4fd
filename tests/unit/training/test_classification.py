"""Confusion matrix, ROC and calibration against scikit-learn, and outputs of every usual form."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as reference_matrix
from sklearn.metrics import roc_auc_score

from chandlery.errors import TrainingError
from chandlery.training.classification import (
    calibrate,
    class_indices,
    confusion_matrix,
    probabilities,
    roc_curve,
)

RANDOM = np.random.default_rng(11)
TRUTH = RANDOM.integers(0, 4, 300)
LOGITS = RANDOM.normal(size=(300, 4)) + 2 * np.eye(4)[TRUTH]


def test_matrix_and_area_are_scikit_learns() -> None:
    scores = probabilities(LOGITS, 4)
    predicted = scores.argmax(axis=1)
    assert (confusion_matrix(TRUTH, predicted, 4) == reference_matrix(TRUTH, predicted)).all()
    expected = roc_auc_score(np.eye(4)[TRUTH].ravel(), scores.ravel())
    assert roc_curve(TRUTH, scores).area == pytest.approx(expected, abs=1e-12)


def test_the_curve_is_fit_to_travel_as_json() -> None:
    roc = roc_curve(TRUTH, probabilities(LOGITS, 4))
    assert len(roc.threshold) <= 100
    assert (roc.false_positive[0], roc.true_positive[0]) == (0, 0)
    assert (roc.false_positive[-1], roc.true_positive[-1]) == (1, 1)
    assert np.isfinite(roc.threshold).all()
    assert (np.diff(roc.false_positive) >= 0).all()


def test_outputs_of_every_usual_form_become_probabilities() -> None:
    one = RANDOM.uniform(size=(5, 1))
    assert np.allclose(probabilities(one, 2), np.hstack([1 - one, one]))
    assert np.allclose(probabilities(one[:, 0], 2), np.hstack([1 - one, one]))
    given = probabilities(LOGITS, 4).astype("float32")
    assert np.allclose(probabilities(given, 4), given), "a distribution is taken as it is"
    assert np.allclose(probabilities(np.array([[3.0]]), 2)[0, 1], 1 / (1 + np.exp(-3)))
    with pytest.raises(TrainingError, match="for 3 classes"):
        probabilities(LOGITS, 3)


def test_labels_become_class_indices() -> None:
    assert (class_indices(np.eye(4)[TRUTH], 4) == TRUTH).all()
    assert (class_indices(TRUTH[:, None].astype("float32"), 4) == TRUTH).all()
    for bad in (np.array([0, 4]), np.array([-1, 0]), np.array([0.5, 1])):
        with pytest.raises(TrainingError, match="not the index"):
            class_indices(bad, 4)


def test_calibration_tells_an_overconfident_model() -> None:
    right = np.tile([1 - 0.9, 0.9], (1000, 1))
    truth = (np.arange(1000) % 10 != 0).astype(int)
    assert calibrate(truth, right).error == pytest.approx(0, abs=1e-9)
    assert calibrate(truth * (np.arange(1000) % 2), right).error == pytest.approx(0.4, abs=0.01)
