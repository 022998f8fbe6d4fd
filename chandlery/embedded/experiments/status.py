"""Writes the `status` of Experiments and Trials as Katib does: conditions, summaries, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from chandlery.resources.experiment_status import TERMINAL_TRIAL, is_set, objective_value, state_of
from chandlery.resources.port import Document

__all__ = [
    "TERMINAL_EXPERIMENT",
    "TERMINAL_TRIAL",
    "conclude",
    "fail",
    "is_set",
    "now",
    "set_condition",
    "state_of",
    "summarise",
]

TERMINAL_EXPERIMENT = ("Succeeded", "Failed")

# Trial condition -> (list, count) in the Experiment's status.
_SUMMARY = {
    "Pending": ("pendingTrialList", "trialsPending"),
    "Running": ("runningTrialList", "trialsRunning"),
    "Succeeded": ("succeededTrialList", "trialsSucceeded"),
    "Failed": ("failedTrialList", "trialsFailed"),
    "Killed": ("killedTrialList", "trialsKilled"),
    "EarlyStopped": ("earlyStoppedTrialList", "trialsEarlyStopped"),
    "MetricsUnavailable": ("metricsUnavailableTrialList", "trialMetricsUnavailable"),
}


def now() -> str:
    """Return the time as the API server writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def set_condition(status: Document, type_: str, reason: str, message: str) -> None:
    """Set a condition to True; a terminal one sets Running to False."""
    conditions = status.setdefault("conditions", [])
    moment = now()
    for condition in conditions:
        if (
            condition["type"] == "Running"
            and type_ not in ("Created", "Running")
            and condition["status"] == "True"
        ):
            condition |= {"status": "False", "lastUpdateTime": moment, "lastTransitionTime": moment}
        if condition["type"] == type_:
            if (condition["status"], condition["reason"], condition["message"]) != ("True", reason, message):
                condition |= {
                    "status": "True",
                    "reason": reason,
                    "message": message,
                    "lastUpdateTime": moment,
                }
            return
    conditions.append(
        {
            "type": type_,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastUpdateTime": moment,
            "lastTransitionTime": moment,
        }
    )


def summarise(status: Document, objective: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> None:
    """Fill the counts, the lists and the best trial from the Trials; lists and counts of nothing are left out."""
    status["trials"] = len(trials)
    named = [(state_of(trial), trial["metadata"]["name"]) for trial in trials]
    for state, (names, count) in _SUMMARY.items():
        found = [name for own, name in named if own == state]
        status.pop(names, None)
        status.pop(count, None)
        if found:
            status |= {names: found, count: len(found)}
    best: tuple[float, Mapping[str, Any]] | None = None
    for trial in trials:
        value = _value(trial, objective)
        if value is not None and (best is None or _better(value, best[0], objective)):
            best = (value, trial)
    if best:
        status["currentOptimalTrial"] = {
            "bestTrialName": best[1]["metadata"]["name"],
            "parameterAssignments": best[1]["spec"]["parameterAssignments"],
            "observation": best[1]["status"]["observation"],
        }


def conclude(
    status: Document, spec: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], *, exhausted: bool
) -> None:
    """Set Succeeded or Failed once the Trials decide it, in Katib's order: goal, failures, count, end of suggestions.

    Args:
        status: the Experiment's status, summarised.
        spec: the Experiment's spec.
        trials: its Trials.
        exhausted: the algorithm has no more suggestions.
    """
    objective = spec["objective"]
    states = [state_of(trial) for trial in trials]
    failed = states.count("Failed") + states.count("MetricsUnavailable")
    done = sum(state in TERMINAL_TRIAL for state in states)
    most = spec.get("maxTrialCount")
    allowed = spec.get("maxFailedTrialCount")
    if _goal_reached(objective, trials):
        _finish(
            status,
            "Succeeded",
            "ExperimentGoalReached",
            "Experiment has succeeded because Objective goal has reached",
        )
    elif allowed is not None and failed and failed >= allowed:
        message = "Experiment has failed because max failed count has reached"
        _finish(status, "Failed", "ExperimentFailed", message)
    elif most is not None and done >= most:
        message = "Experiment has succeeded because max trial count has reached"
        _finish(status, "Succeeded", "ExperimentMaxTrialsReached", message)
    elif exhausted and done == len(states):
        message = "Experiment has succeeded because suggestion service has reached the end"
        _finish(status, "Succeeded", "ExperimentSuggestionEndReached", message)


def fail(status: Document, message: str) -> None:
    """Set Failed: the Experiment cannot run at all."""
    _finish(status, "Failed", "ExperimentFailed", message)


def _finish(status: Document, type_: str, reason: str, message: str) -> None:
    set_condition(status, type_, reason, message)
    status["completionTime"] = now()


def _goal_reached(objective: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> bool:
    goal = objective.get("goal")
    if goal is None:
        return False
    values = [value for trial in trials if (value := _value(trial, objective)) is not None]
    return any(value == goal or _better(value, goal, objective) for value in values)


def _better(one: float, other: float, objective: Mapping[str, Any]) -> bool:
    return one > other if objective["type"] == "maximize" else one < other


def _value(trial: Mapping[str, Any], objective: Mapping[str, Any]) -> float | None:
    # Failed trials may have printed something on their way.
    if state_of(trial) not in ("Succeeded", "EarlyStopped"):
        return None
    return objective_value(trial["status"].get("observation"), objective)
