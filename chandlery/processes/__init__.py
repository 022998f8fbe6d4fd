"""Processes that outlive the one that started them: their identity, life and end; file locks, use marks and ports."""

from chandlery.processes.identity import ProcessId, holder_is_running, holder_text, identify, is_running, runs
from chandlery.processes.lifecycle import (
    PYTHON,
    end,
    group_members,
    load,
    save,
    signal_group,
    start,
    start_remembered,
)

__all__ = [
    "PYTHON",
    "ProcessId",
    "end",
    "group_members",
    "holder_is_running",
    "holder_text",
    "identify",
    "is_running",
    "load",
    "runs",
    "save",
    "signal_group",
    "start",
    "start_remembered",
]
