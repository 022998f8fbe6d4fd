"""A policy that cannot be followed is refused with what is valid; budgets are split as documented."""

import json
import math
from pathlib import Path

import pytest

from chandlery.canary.decision.policy import Guardrail, ReleasePolicy, guardrails
from chandlery.canary.parameters import CanaryParameters, Pace, pace_of
from chandlery.errors import UserError

PARAMETERS = {
    "weights": [5.0, 25.0, 50.0, 100.0],
    "alpha": 0.05,
    "beta": 0.05,
    "margin": 2.0,
    "primary": "wrong",
    "guardrails": ["wrong", "errors", "slow"],
    "deadline_seconds": 60.0,
    "minimum_requests": 50,
    "look_seconds": 1.0,
    "grace_seconds": 1.0,
    "label_grace_seconds": 1.0,
    "design_effect": 1.0,
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights": [5, 25]}, "end in 100"),
        ({"weights": [50, 25, 100]}, "rising"),
        ({"weights": [0, 100]}, "rising"),
        ({"weights": [100]}, "rising"),
        ({"weights": []}, "rising"),
        ({"weights": [0.5, 100]}, "whole percentages"),
        ({"alpha": 0.0}, "probability"),
        ({"beta": 1.0}, "probability"),
        ({"margin": 1.0}, "greater than 1"),
        ({"primary": "accuracy"}, "guard-rails"),
        ({"primary": "slow", "guardrails": ["wrong"]}, "guard-rails"),
        ({"guardrails": ["wrong", "latency"]}, "valid metrics: wrong, errors, slow, refused"),
        ({"primary": "refused", "guardrails": ["wrong", "refused"]}, "valid primaries: wrong, errors, slow"),
        ({"guardrails": ["wrong", "wrong"]}, "each once"),
        ({"deadline_seconds": 0.0}, "positive"),
        ({"look_seconds": -1.0}, "positive"),
        ({"design_effect": 0.5}, "design effect"),
        ({"design_effect": float("nan")}, "design effect"),
        ({"design_effect": float("inf")}, "design effect"),
    ],
)
def test_bad_policies_are_refused(change: dict, says: str) -> None:
    with pytest.raises(UserError) as caught:
        CanaryParameters("digits", "13", **{**PARAMETERS, **change}).policy()
    assert says in str(caught.value)
    assert caught.value.hint


def test_weights_from_a_component_become_whole_numbers() -> None:
    assert CanaryParameters("digits", "13", **PARAMETERS).policy().weights == (5, 25, 50, 100)


def test_the_rollback_budget_is_split_evenly_and_the_promotion_budget_is_not() -> None:
    policy = ReleasePolicy(alpha=0.06, beta=0.04)
    assert math.exp(-policy.rollback_threshold) * 4 == pytest.approx(0.06)
    assert math.exp(-policy.promote_threshold) == pytest.approx(0.04)
    assert math.exp(-policy.mismatch_threshold) * 2 == pytest.approx(0.001)
    one = ReleasePolicy(guardrails=guardrails(["wrong"]))
    assert math.exp(-one.rollback_threshold) == pytest.approx(0.05)


def test_a_policy_survives_json() -> None:
    policy = ReleasePolicy(weights=(10, 100), primary="errors", guardrails=(Guardrail("errors", 0.0),))
    assert ReleasePolicy.from_json(json.loads(json.dumps(policy.to_json()))) == policy


@pytest.mark.parametrize(
    ("prometheus", "asked", "pace"),
    [
        ("", (0.0, 0.0, 0.0), (1.0, 1.0, 2.0)),
        ("http://prometheus:9090", (0.0, 0.0, 0.0), (10.0, 60.0, 60.0)),
        ("http://prometheus:9090", (5.0, 0.0, 900.0), (5.0, 60.0, 900.0)),
    ],
)
def test_the_pace_suits_the_source_of_the_counters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prometheus: str, asked: tuple, pace: tuple
) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    monkeypatch.setenv("CHANDLERY_PROMETHEUS", prometheus)
    assert pace_of(*asked) == Pace(*pace)


def test_a_policy_from_before_the_design_effect_takes_requests_as_independent() -> None:
    document = ReleasePolicy().to_json()
    del document["design_effect"]
    assert ReleasePolicy.from_json(document).design_effect == 1.0
