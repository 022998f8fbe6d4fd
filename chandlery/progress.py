"""Progress of a step: a line for the log and, on request, an event for a live display.

A step's standard output is its log on every platform. When `CHANDLERY_EVENTS` names a file, each report is
also appended there as one JSON line, which `chandlery run` follows to draw its live view.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from chandlery.redaction import redacted

EVENTS_VARIABLE = "CHANDLERY_EVENTS"


def report(event: str, message: str, **fields: Any) -> None:
    """Print `message` as a log line and append an event.

    Args:
        event: what kind of thing happened, dotted and lower case: `trial.finished`, `epoch`, `canary.evidence`.
        message: one line for a human.
        fields: JSON-able details for a live display.
    """
    if message:
        print(redacted(message), flush=True)
    _append({"task": os.environ.get("CHANDLERY_TASK", ""), "event": event, "message": message, **fields})


def report_silently(event: str, **fields: Any) -> None:
    """Append an event without a log line."""
    _append({"event": event, **fields})


def _append(event: dict[str, Any]) -> None:
    path = os.environ.get(EVENTS_VARIABLE)
    if not path:
        return
    line = redacted(json.dumps({"time": time.time(), **event}, default=str))
    # One write in append mode keeps lines of concurrent processes whole.
    with open(path, "a", encoding="utf-8") as out:
        out.write(line + "\n")
