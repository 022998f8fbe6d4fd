"""How a trial's figures are read, and when it is stopped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.embedded.experiments.metrics import (
    Reading,
    Rule,
    median_rules,
    observation,
    readings,
    stopped_at,
)
from chandlery.resources.experiment_status import objective_value

MAXIMISE = {"type": "maximize", "objectiveMetricName": "accuracy"}
MINIMISE = {"type": "minimize", "objectiveMetricName": "accuracy"}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("accuracy=0.5", ["0.5"]),
        ("epoch 3 accuracy = 5e-1, loss=2", ["5e-1"]),
        ("accuracy=-1 accuracy=+2", ["-1", "+2"]),
        ("val_accuracy=0.5", []),
        ("accuracy=nan", []),
        ("accuracy=", []),
        ("accuracy is 0.5", []),
        ("accuracy=.5", [".5"]),
        ("", []),
    ],
)
def test_lines(line, found):
    assert [r.text for r in readings([line], ["accuracy"], {})] == found


def test_an_own_pattern():
    collector = {"source": {"filter": {"metricsFormat": [r"(\w+): (\d+)%"]}}}
    assert [r.value for r in readings(["accuracy: 93%"], ["accuracy"], collector)] == [93.0]


def test_json_lines_pass_over_what_is_no_json():
    collector = {"source": {"fileSystemPath": {"format": "JSON"}}}
    lines = ['{"accuracy": 0.5}', '{"accuracy": "0.7", "epoch": 2}', "[1]", '{"accu', '{"accuracy": "NaN"}']
    assert [r.text for r in readings(lines, ["accuracy"], collector)] == ["0.5", "0.7"]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_an_observation_holds_least_most_and_last(values):
    found = [Reading("accuracy", repr(value)) for value in values]
    seen = observation(found, ["accuracy", "loss"])
    metric = seen["metrics"][0]
    assert (float(metric["min"]), float(metric["max"]), float(metric["latest"])) == (
        min(values),
        max(values),
        values[-1],
    )
    assert seen["metrics"][1]["max"] == "unavailable"
    assert objective_value(seen, MAXIMISE) == max(values)
    assert objective_value(seen, MINIMISE) == min(values)
    assert objective_value(seen, {**MAXIMISE, "objectiveMetricName": "loss"}) is None


@pytest.mark.parametrize(
    ("values", "objective", "comparison", "stopped"),
    [
        ([0.1, 0.1, 0.1, 0.9], MAXIMISE, "less", 3),
        ([0.1, 0.1], MAXIMISE, "less", None),  # not yet three values
        ([0.9, 0.1, 0.1, 0.1], MAXIMISE, "less", None),  # its best so far counts
        ([0.1, 0.6, 0.1], MAXIMISE, "less", None),
        ([0.5, 0.5, 0.5], MAXIMISE, "less", None),  # equal is not worse
        ([0.9, 0.9, 0.9], MINIMISE, "greater", 3),
        ([0.9, 0.1, 0.9], MINIMISE, "greater", None),
    ],
)
def test_when_a_trial_is_stopped(values, objective, comparison, stopped):
    rules = [Rule("accuracy", 0.5, comparison, 3)]
    found = [
        reading for value in values for reading in (Reading("epoch", "1"), Reading("accuracy", repr(value)))
    ]
    cut = stopped_at(found, rules, objective)
    assert cut == (None if stopped is None else stopped * 2)


def test_no_rule_stops_nothing():
    assert stopped_at([Reading("accuracy", "0")], [], MAXIMISE) is None


class TestMedian:
    def trial(self, *values):
        return [Reading("accuracy", repr(value)) for value in values]

    def test_it_is_the_mean_of_the_means_of_the_first_values(self):
        finished = [self.trial(0.2, 0.4, 0.9), self.trial(0.6, 0.8, 0.1), self.trial(0.7)]
        (rule,) = median_rules(finished, MAXIMISE, {"start_step": "2"})
        assert rule.value == pytest.approx((0.3 + 0.7 + 0.7) / 3)
        assert (rule.comparison, rule.start_step) == ("less", 2)

    def test_it_takes_enough_trials_with_values(self):
        finished = [self.trial(0.2), self.trial(0.2), self.trial()]
        assert median_rules(finished, MAXIMISE, {}) == []
        assert median_rules(finished, MAXIMISE, {"min_trials_required": "2"}) != []


@given(
    st.lists(st.integers(0, 9), max_size=8),
    st.integers(0, 9),
    st.integers(1, 5),
    st.sampled_from([MAXIMISE, MINIMISE]),
)
def test_the_report_at_start_step_decides_as_in_katibs_collector(values, mean, start_step, objective):
    """Katib looks at a rule once, at its start step; the best value so far can only have become better later."""
    worse, best = (int.__lt__, max) if objective is MAXIMISE else (int.__gt__, min)
    stops = len(values) >= start_step and worse(best(values[:start_step]), mean)
    rule = Rule("accuracy", mean, "less" if objective is MAXIMISE else "greater", start_step)
    cut = stopped_at([Reading("accuracy", str(value)) for value in values], [rule], objective)
    assert cut == (start_step if stops else None)
