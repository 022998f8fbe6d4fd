"""Reads the `status` of Experiments and Trials, whichever controller wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# A trial's terminal conditions; the first that is set is its state, as Katib counts.
TERMINAL_TRIAL = ("Killed", "Failed", "MetricsUnavailable", "Succeeded", "EarlyStopped")

UNAVAILABLE = "unavailable"


def condition(document: Mapping[str, Any], type_: str) -> dict[str, str]:
    """Return the condition of that type when it is True, else {}."""
    for one in (document.get("status") or {}).get("conditions") or ():
        if one["type"] == type_ and one["status"] == "True":
            return dict(one)
    return {}


def last_condition(document: Mapping[str, Any]) -> str:
    """Return the type of the last condition that is True: the state of an Experiment; empty when there is none."""
    conditions = (document.get("status") or {}).get("conditions") or ()
    return next((str(one["type"]) for one in reversed(conditions) if one.get("status") == "True"), "")


def is_set(document: Mapping[str, Any], *types: str) -> bool:
    """Return whether one of the conditions is True."""
    return any(condition(document, type_) for type_ in types)


def state_of(trial: Mapping[str, Any]) -> str:
    """Return the one word for a Trial's state: a terminal condition, Running or Pending."""
    return next((state for state in (*TERMINAL_TRIAL, "Running") if condition(trial, state)), "Pending")


def objective_value(seen: Mapping[str, Any] | None, objective: Mapping[str, Any]) -> float | None:
    """Return the objective of an observation by its strategy; None when it has none.

    Args:
        seen: `status.observation` of a Trial.
        objective: `spec.objective`.
    """
    name = objective["objectiveMetricName"]
    default = "max" if objective["type"] == "maximize" else "min"
    strategies = {s["name"]: s["value"] for s in objective.get("metricStrategies") or ()}
    strategy = strategies.get(name, default)
    for metric in (seen or {}).get("metrics") or ():
        if metric["name"] == name:
            # Katib has no min and max where a value was not a number; then the latest stands.
            text = metric["latest"] if metric[strategy] == UNAVAILABLE else metric[strategy]
            return _number(text)
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
