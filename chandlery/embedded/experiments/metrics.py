"""Reads a trial's metrics from its log or metrics file, as Katib's collectors do, and applies early-stopping rules."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chandlery.resources.experiment_status import UNAVAILABLE

# Katib's default filter: name=value with an optional exponent.
_DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(?:\.\d+)?(?:[Ee][+-]?\d+)?)"


@dataclass(frozen=True)
class Reading:
    """One value of a metric, in the order of the log."""

    name: str
    text: str

    @property
    def value(self) -> float:
        """The number."""
        return float(self.text)


@dataclass(frozen=True)
class Rule:
    """Stop when the metric, reported `start_step` times or more, is worse than `value`."""

    metric: str
    value: float
    comparison: str
    start_step: int


def metric_names(objective: Mapping[str, Any]) -> list[str]:
    """Return the names of the metrics that a trial is read for, the objective first."""
    return [objective["objectiveMetricName"], *(objective.get("additionalMetricNames") or ())]


def readings(lines: Iterable[str], names: Sequence[str], collector: Mapping[str, Any]) -> list[Reading]:
    """Return the values of the metrics `names` in order.

    Args:
        lines: lines of the log, or of the metrics file.
        names: metrics to look for; others are passed over.
        collector: `metricsCollectorSpec` of the Experiment.
    """
    source = collector.get("source") or {}
    if (source.get("fileSystemPath") or {}).get("format") == "JSON":
        found = _json_pairs(lines)
    else:
        patterns = (source.get("filter") or {}).get("metricsFormat") or [_DEFAULT_FILTER]
        found = _text_pairs(lines, [re.compile(pattern) for pattern in patterns])
    return [Reading(name, text) for name, text in found if name in names and _is_number(text)]


def observation(found: Sequence[Reading], names: Sequence[str]) -> dict[str, Any]:
    """Return a Trial's `status.observation`: min, max and latest of each metric, `unavailable` where there is none."""
    metrics = []
    for name in names:
        values = [reading for reading in found if reading.name == name]
        metrics.append(
            {
                "name": name,
                "min": min(values, key=lambda r: r.value).text if values else UNAVAILABLE,
                "max": max(values, key=lambda r: r.value).text if values else UNAVAILABLE,
                "latest": values[-1].text if values else UNAVAILABLE,
            }
        )
    return {"metrics": metrics}


def stopped_at(found: Sequence[Reading], rules: Sequence[Rule], objective: Mapping[str, Any]) -> int | None:
    """Return how many readings a trial had made when the last of its rules was met; None: not stopped.

    As in Katib the objective counts with its best value so far, and a trial stops when all rules are met.
    """
    open_rules = list(rules)
    counts = dict.fromkeys((rule.metric for rule in rules), 0)
    best: float | None = None
    better = max if objective["type"] == "maximize" else min
    for index, reading in enumerate(found):
        if reading.name not in counts:
            continue
        counts[reading.name] += 1
        value = reading.value
        if reading.name == objective["objectiveMetricName"]:
            best = value if best is None else better(best, value)
            value = best
        open_rules = [
            rule
            for rule in open_rules
            if rule.metric != reading.name or counts[rule.metric] < rule.start_step or not _meets(rule, value)
        ]
        if not open_rules and rules:
            return index + 1
    return None


def median_rules(
    finished: Sequence[Sequence[Reading]], objective: Mapping[str, Any], settings: Mapping[str, str]
) -> list[Rule]:
    """Return the rules of `medianstop` for a trial that starts now.

    Katib's "median" is the mean over finished trials of the mean of their first `start_step` values.

    Args:
        finished: readings of the trials that succeeded.
        objective: `spec.objective`.
        settings: `min_trials_required` (default 3) and `start_step` (default 4).
    """
    start_step = int(settings.get("start_step", 4))
    name = objective["objectiveMetricName"]
    firsts = [[r.value for r in found if r.name == name][:start_step] for found in finished]
    means = [sum(values) / len(values) for values in firsts if values]
    if len(means) < int(settings.get("min_trials_required", 3)):
        return []
    comparison = "less" if objective["type"] == "maximize" else "greater"
    return [Rule(name, sum(means) / len(means), comparison, start_step)]


def rules_to_katib(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Return rules as a Trial's `spec.earlyStoppingRules`."""
    return [
        {"name": r.metric, "value": repr(r.value), "comparison": r.comparison, "startStep": r.start_step}
        for r in rules
    ]


def rules_from_katib(rules: Iterable[Mapping[str, Any]]) -> list[Rule]:
    """Read a Trial's `spec.earlyStoppingRules`."""
    return [Rule(r["name"], float(r["value"]), r["comparison"], int(r.get("startStep", 0))) for r in rules]


def _meets(rule: Rule, value: float) -> bool:
    if rule.comparison == "less":
        return value < rule.value
    return value > rule.value if rule.comparison == "greater" else value == rule.value


def _text_pairs(lines: Iterable[str], patterns: Sequence[re.Pattern[str]]) -> Iterator[tuple[str, str]]:
    for line in lines:
        for pattern in patterns:
            for match in pattern.finditer(line):
                yield match.group(1).strip(), (match.group(2) or "").strip()


def _json_pairs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        try:
            values = json.loads(line)
        except json.JSONDecodeError:
            continue  # a line still being written, or a remark
        if isinstance(values, dict):
            yield from ((str(name), str(value)) for name, value in values.items())


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
