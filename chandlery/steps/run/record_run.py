"""The body of `record_run`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chandlery.runs.journal import note


def record_run(values: Mapping[str, Any], reports: Mapping[str, str]) -> str:
    """Note what the pure steps of this run found and return the decision; see the component."""
    note(values, reports)
    return str(values["decision"])
