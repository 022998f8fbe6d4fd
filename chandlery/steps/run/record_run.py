"""The body of `record_run`."""

from __future__ import annotations

from collections.abc import Mapping

from chandlery.runs import RunFacts, note

__all__ = ["RunFacts", "record_run"]


def record_run(facts: RunFacts, reports: Mapping[str, str]) -> str:
    """Write what the pure steps of this run found into its record, and return the decision.

    Args:
        facts: what they found; its decision is set.
        reports: paths of their HTML reports, by title.
    """
    note(facts, reports)
    return str(facts.decision)
