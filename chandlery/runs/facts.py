"""The facts of a run: what its steps found, one field each, whichever step writes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class RunFacts:
    """Findings of the steps of a run. A step fills in its own fields; the rest stay None.

    Attributes:
        commit: data commit that the run used.
        best_parameters: hyperparameters that the search found.
        metric: name of the objective.
        decision: what the comparison decided: better, worse, same or first.
        reason: why, one sentence.
        champion_version: version compared with; empty when there was none.
        champion_score: its objective on the test split.
        challenger_score: the new model's.
        model_version: version registered.
        deployment: name of the deployment.
        endpoint: base URL of the deployment.
        curl: a command line that calls it.
        verdict: how the canary ended.
        verdict_reason: why, one sentence with numbers.
        serving_version: version that has all the traffic.
    """

    commit: str | None = None
    best_parameters: Mapping[str, Any] | None = None
    metric: str | None = None
    decision: str | None = None
    reason: str | None = None
    champion_version: str | None = None
    champion_score: float | None = None
    challenger_score: float | None = None
    model_version: str | None = None
    deployment: str | None = None
    endpoint: str | None = None
    curl: str | None = None
    verdict: str | None = None
    verdict_reason: str | None = None
    serving_version: str | None = None

    def known(self) -> dict[str, Any]:
        """Return the fields that are filled in."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> RunFacts:
        """Return the facts of a note's JSON object; names that another version wrote are left out."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})

    @classmethod
    def merged(cls, parts: Iterable[RunFacts]) -> RunFacts:
        """Return the facts of several steps as one; a later step wins."""
        values: dict[str, Any] = {}
        for part in parts:
            values |= part.known()
        return cls(**values)
