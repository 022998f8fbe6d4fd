"""The rule by which a challenger may go on real traffic."""

import pytest

from chandlery.training.comparison import Evidence, decide
from chandlery.training.statistics import Interval


@pytest.mark.parametrize(
    ("gain", "low", "p_value", "margin", "decision", "words"),
    [
        (0.05, 0.02, 0.001, 0.01, "better", "significantly better"),
        (0.05, -0.02, 0.04, 0.01, "better", "significantly better"),
        (0.01, -0.005, 0.2, 0.01, "better", "no worse than the margin allows"),
        (0.0, -0.005, 0.6, 0.01, "better", "no worse than the margin allows"),
        (-0.001, -0.005, 0.7, 0.01, "worse", "within the margin, but lower"),
        (0.01, -0.02, 0.3, 0.01, "worse", "not shown to be good enough"),
        (0.01, -0.01, 0.3, 0.01, "worse", "not shown to be good enough"),
        (-0.08, -0.12, 0.99, 0.01, "worse", "not shown to be good enough"),
        # A better test statistic never outweighs a lower objective.
        (-0.01, -0.02, 0.01, 0.05, "worse", "within the margin, but lower"),
    ],
)
def test_decisions(gain: float, low: float, p_value: float, margin: float, decision: str, words: str) -> None:
    evidence = Evidence(gain, Interval(low, gain + 0.05), p_value, "the test")
    found, reason = decide("accuracy", "3", 0.9, 0.9 + gain, evidence, margin, 0.05, 221)
    assert (found, words in reason) == (decision, True), reason
    assert reason.startswith(
        f"accuracy {0.9 + gain:.4f} against 0.9000 of champion version 3 on 221 test rows"
    )
    assert "\n" not in reason
