"""Runs components and pipelines of kfp with the laptop's engine, each step a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chandlery.embedded.pipelines.execution import Execution
from chandlery.embedded.pipelines.once import Ran, run_once


@dataclass(frozen=True)
class Made:
    """An artifact that a task made."""

    path: str
    metadata: dict[str, Any]


class FailedRunError(Exception):
    """A run failed; the text is its log."""


def run(runnable: Any, folder: Path, *, caching: bool = False, **arguments: Any) -> Ran:
    """Run a component or a pipeline; raises FailedRunError with its log when it fails."""
    ran = run_once(runnable, folder, arguments, caching=caching)
    if ran.state != "SUCCEEDED":
        raise FailedRunError(f"{ran.error}\n{ran.hint}\n{ran.log}")
    return ran


def outputs(task: Execution) -> dict[str, Any]:
    """Return what a task put out: values, and artifacts as `Made`."""
    artifacts = {name: Made(made[0]["uri"], made[0]["metadata"]) for name, made in task.made.items()}
    return {**task.outputs, **artifacts}


def run_component(component: Any, folder: Path, **arguments: Any) -> dict[str, Any]:
    """Run a component by itself; returns its outputs."""
    return outputs(run(component, folder, **arguments).task(component.name))
