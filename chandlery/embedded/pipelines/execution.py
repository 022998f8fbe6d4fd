"""What became of each task of a run: a tree of executions, DAGs above the tasks that do the work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PENDING, RUNNING, SUCCEEDED, CACHED = "PENDING", "RUNNING", "SUCCEEDED", "CACHED"
FAILED, SKIPPED, CANCELED = "FAILED", "SKIPPED", "CANCELED"
GOOD = (SUCCEEDED, CACHED)
ENDED = (SUCCEEDED, CACHED, FAILED, SKIPPED, CANCELED)

Parameters = dict[str, Any]
Artifacts = dict[str, list[dict[str, Any]]]  # runtime artifacts by name of input or output


@dataclass
class Execution:
    """One execution of a task: of a DAG, of one turn of a loop, or of something that does work.

    Attributes:
        path: names from the root to here, `root/for-loop-1[2]/train`; unique in a run.
        name: the task's name in its DAG.
        component: its component.
        state: PENDING, RUNNING, SUCCEEDED, CACHED, FAILED, SKIPPED (closed gate, or something before it did not
            succeed) or CANCELED.
        parameters: input parameters.
        artifacts: input artifacts.
        outputs: output parameters of a task that does work.
        made: output artifacts of a task that does work.
        children: executions of a DAG's tasks by name; those that never began are not there.
        turns: executions of a loop's turns, when this is a loop.
        error: why it failed, one line.
        hint: what to do, one line.
        exit_code: of the process that failed, else 0.
        started: seconds since the epoch, or 0.
        ended: seconds since the epoch, or 0.
        attempts: times that it was started.
    """

    path: str
    name: str
    component: Any
    state: str = PENDING
    parameters: Parameters = field(default_factory=dict)
    artifacts: Artifacts = field(default_factory=dict)
    outputs: Parameters = field(default_factory=dict)
    made: Artifacts = field(default_factory=dict)
    children: dict[str, Execution] = field(default_factory=dict)
    turns: list[Execution] | None = None
    error: str = ""
    hint: str = ""
    exit_code: int = 0
    started: float = 0.0
    ended: float = 0.0
    attempts: int = 0

    @property
    def is_dag(self) -> bool:
        """Whether it has tasks of its own."""
        return "dag" in self.component

    @property
    def index(self) -> str:
        """The turns of all loops around it, `[2][0]`; empty outside of loops."""
        return "".join(f"[{part.split('[', 1)[1]}" for part in self.path.split("/") if "[" in part)


def output_parameter(execution: Execution, key: str) -> Any:
    """Return an output parameter of an execution, looking through DAGs; of a loop, the list of all its turns'.

    None where nothing was put out: a gate was closed, or a task failed.
    """
    if execution.turns is not None:
        found = [_inner_parameter(turn, key) for turn in execution.turns]
        return _flat([value for value in found if value is not None], execution, key)
    return _inner_parameter(execution, key) if execution.is_dag else execution.outputs.get(key)


def output_artifacts(execution: Execution, key: str) -> list[dict[str, Any]]:
    """Return an output artifact of an execution, looking through DAGs; of a loop, those of all its turns."""
    if execution.turns is not None:
        return [artifact for turn in execution.turns for artifact in _inner_artifacts(turn, key)]
    return _inner_artifacts(execution, key) if execution.is_dag else execution.made.get(key, [])


def _inner_parameter(execution: Execution, key: str) -> Any:
    if not execution.is_dag:
        return execution.outputs.get(key)
    spec = execution.component["dag"].get("outputs", {}).get("parameters", {}).get(key, {})
    if "valueFromOneof" in spec:
        for selector in spec["valueFromOneof"].get("parameterSelectors", []):
            child = execution.children.get(selector["producerSubtask"])
            if child is not None and child.state in GOOD:
                return output_parameter(child, selector["outputParameterKey"])
        return None
    selector = spec.get("valueFromParameter")
    child = execution.children.get(selector["producerSubtask"]) if selector else None
    return output_parameter(child, selector["outputParameterKey"]) if child is not None else None


def _inner_artifacts(execution: Execution, key: str) -> list[dict[str, Any]]:
    if not execution.is_dag:
        return execution.made.get(key, [])
    spec = execution.component["dag"].get("outputs", {}).get("artifacts", {}).get(key, {})
    selectors = spec.get("artifactSelectors", [])
    for selector in selectors:
        child = execution.children.get(selector["producerSubtask"])
        if child is not None and (len(selectors) == 1 or child.state in GOOD):
            return output_artifacts(child, selector["outputArtifactKey"])
    return []


def _flat(values: list[Any], loop: Execution, key: str) -> list[Any]:
    """Return what the turns of a loop put out as one list: a loop inside gives its own items, as KFP collects them."""
    if any(_is_collected(turn, key) for turn in loop.turns or []):
        return [item for value in values for item in value]
    return values


def _is_collected(execution: Execution, key: str) -> bool:
    """Return whether an output of one turn is itself the list that a loop inside the turn collected."""
    if not execution.is_dag:
        return False
    spec = execution.component["dag"].get("outputs", {}).get("parameters", {}).get(key, {})
    selector = spec.get("valueFromParameter")
    child = execution.children.get(selector["producerSubtask"]) if selector else None
    if child is None:
        return False
    return child.turns is not None or _is_collected(child, selector["outputParameterKey"])
