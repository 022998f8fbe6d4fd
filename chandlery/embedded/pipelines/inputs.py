"""What a task is given: its inputs resolved against its DAG, as KFP's driver resolves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chandlery.embedded.pipelines import expressions, package, values
from chandlery.embedded.pipelines.execution import (
    CACHED,
    CANCELED,
    FAILED,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    Artifacts,
    Execution,
    Parameters,
    output_artifacts,
    output_parameter,
)
from chandlery.errors import UserError

WORKSPACE = "{{$.workspace_path}}"

# KFP's driver tells a task's final status in the words of its metadata store.
_STATUS = {SUCCEEDED: "COMPLETE", CACHED: "CACHED", FAILED: "FAILED", CANCELED: "CANCELED"}


class MissingInputError(UserError):
    """An input that a task needs has no value."""


@dataclass(frozen=True)
class RunFacts:
    """What a task may ask about its run.

    Attributes:
        run_id: id of the run.
        name: its name, as a resource.
        display_name: its name for people.
        created: when it was created, RFC 3339 in UTC.
        scheduled: when it was due, RFC 3339 in UTC.
        workspace: folder that all tasks of the run share.
    """

    run_id: str
    name: str
    display_name: str
    created: str
    scheduled: str
    workspace: str


def of_root(root: package.Spec, given: Mapping[str, Any]) -> Parameters:
    """Return a pipeline's inputs: the given ones, else the defaults, else null where they are optional.

    Raises:
        MissingInputError: one that is needed is not given, or one is given that there is not.
        WrongValueError: one is of another type.
    """
    declared = root.get("inputDefinitions", {}).get("parameters", {})
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise MissingInputError(
            f"the pipeline has no input {unknown[0]!r}", f"its inputs are {', '.join(declared) or 'none'}"
        )
    found: Parameters = {}
    for name, spec in declared.items():
        if name in given and not (given[name] is None and spec.get("isOptional")):
            value = values.checked_literal(given[name], spec.get("literals", []), name)
            found[name] = values.typed(values.plain(value), spec.get("parameterType", values.STRING), name)
        elif spec.get("defaultValue") is not None:
            found[name] = values.plain(spec["defaultValue"])
        elif spec.get("isOptional"):
            found[name] = None
        else:
            raise MissingInputError(f"the input {name} is not given", f"give it: -p {name}=...")
    return found


def of_task(
    task: package.Spec, component: package.Spec, dag: Execution, facts: RunFacts
) -> tuple[Parameters, Artifacts]:
    """Return the inputs of a task.

    Args:
        task: the task.
        component: its component.
        dag: execution of the DAG that it belongs to.
        facts: what it may ask about the run.

    Raises:
        MissingInputError: an input that it needs has no value.
        WrongValueError: a value is not of the input's type.
        ExpressionError: a selector finds nothing.
    """
    declared = component.get("inputDefinitions", {}).get("parameters", {})
    given = task.get("inputs", {})
    found: Parameters = {}
    if "dag" in component:  # a nested pipeline gets its defaults here, a component fills in its own
        for name, spec in declared.items():
            if name not in given.get("parameters", {}) and spec.get("isOptional"):
                found[name] = values.plain(spec.get("defaultValue"))
    empty = {name for name, value in found.items() if value is None}
    for name, spec in given.get("parameters", {}).items():
        wanted = declared.get(name, {})
        if wanted.get("parameterType") == "TASK_CONFIG":
            continue
        value = _parameter(task, name, spec, dag, facts)
        if value is None:
            if "dag" in component and wanted.get("defaultValue") is None:
                # kfp compiles the inputs of exit handlers, branches and loops as if none were optional: what needs a
                # value inside finds out.
                found[name] = None
                empty.add(name)
                continue
            if wanted.get("isOptional") or wanted.get("defaultValue") is not None:
                continue
            raise MissingInputError(
                f"task {dag.path}/{_name(task)}: its input {name} has no value",
                "give it one, or make the input optional",
            )
        found[name] = values.checked_literal(value, wanted.get("literals", []), name)
    for name, spec in given.get("parameters", {}).items():
        selector = spec.get("parameterExpressionSelector")
        if selector and name in found:
            found[name] = expressions.select(found[name], selector)
    loop = package.iterator(task) or {}
    for name, spec in declared.items():
        if name == loop.get("itemInput") or name in empty:
            continue
        if name in found:
            found[name] = values.typed(found[name], spec.get("parameterType", values.STRING), name)
        elif _is_needed(spec):
            raise MissingInputError(
                f"task {dag.path}/{_name(task)}: its input {name} has no value", "give it one"
            )
    return found, _artifacts(task, component, dag)


def items(task: package.Spec, parameters: Parameters) -> list[Any]:
    """Return the items of a loop: of an input of the task, or written in the pipeline.

    Raises:
        WrongValueError: it is no list.
    """
    loop = package.iterator(task) or {}
    source = loop.get("items", {})
    if "inputParameter" in source:
        name = source["inputParameter"]
        return values.items_of(parameters.get(name), name)
    return [
        values.plain(item)
        for item in values.items_of(source.get("raw", "[]"), loop.get("itemInput", "items"))
    ]


def of_turn(
    task: package.Spec, component: package.Spec, loop: Execution, item: Any
) -> tuple[Parameters, Artifacts]:
    """Return the inputs of one turn of a loop: the loop's own, with the item in the place of the items.

    Raises:
        WrongValueError: the item is not of the type that the loop's tasks take.
    """
    spec = package.iterator(task) or {}
    parameters = dict(loop.parameters)
    source = spec.get("items", {}).get("inputParameter", "")
    if not package.reads(component, source):  # a loop inside may run over them too
        parameters.pop(source, None)
    name = spec.get("itemInput", "")
    declared = component.get("inputDefinitions", {}).get("parameters", {}).get(name, {})
    parameters[name] = values.typed(item, declared.get("parameterType", values.STRING), name)
    return parameters, dict(loop.artifacts)


def opened(task: package.Spec, parameters: Parameters) -> bool:
    """Return whether a task's condition lets it run; one without a condition runs.

    Raises:
        ExpressionError: the condition cannot be evaluated.
    """
    condition = task.get("triggerPolicy", {}).get("condition")
    return expressions.holds(condition, parameters) if condition else True


def _is_needed(spec: package.Spec) -> bool:
    optional = spec.get("isOptional") or spec.get("defaultValue") is not None
    return not optional and spec.get("parameterType") != "TASK_CONFIG"


def _name(task: package.Spec) -> str:
    return str(task.get("taskInfo", {}).get("name", ""))


def _parameter(task: package.Spec, name: str, spec: package.Spec, dag: Execution, facts: RunFacts) -> Any:
    if "componentInputParameter" in spec:
        source = spec["componentInputParameter"]
        if source not in dag.parameters:
            raise MissingInputError(
                f"task {dag.path}/{_name(task)}: {dag.path} got no value for {source}", "give it one"
            )
        return dag.parameters[source]
    if "taskOutputParameter" in spec:
        source = spec["taskOutputParameter"]
        producer = dag.children.get(source["producerTask"])
        return None if producer is None else output_parameter(producer, source["outputParameterKey"])
    if "taskFinalStatus" in spec:
        return _final_status(task, spec["taskFinalStatus"], dag, facts)
    runtime = spec.get("runtimeValue", {})
    return _constant(values.plain(runtime.get("constant", runtime.get("constantValue"))), task, dag, facts)


def _constant(value: Any, task: package.Spec, dag: Execution, facts: RunFacts) -> Any:
    if not isinstance(value, str) or "{{$." not in value:
        return value
    asked = {
        "{{$.pipeline_job_name}}": facts.display_name,
        "{{$.pipeline_job_resource_name}}": facts.name,
        "{{$.pipeline_job_uuid}}": facts.run_id,
        "{{$.pipeline_task_name}}": _name(task),
        "{{$.pipeline_task_uuid}}": f"{facts.run_id}/{dag.path}/{_name(task)}",
        "{{$.pipeline_job_create_time_utc}}": facts.created,
        "{{$.pipeline_job_schedule_time_utc}}": facts.scheduled,
    }
    return asked.get(value, value.replace(WORKSPACE, facts.workspace))


def _final_status(task: package.Spec, spec: package.Spec, dag: Execution, facts: RunFacts) -> Parameters:
    producer = spec.get("producerTask") or next(iter(task.get("dependentTasks", [])), "")
    ended = dag.children.get(producer)
    state = ended.state if ended is not None else SKIPPED
    status: Parameters = {
        "state": _STATUS.get(state, "UNKNOWN" if state == SKIPPED else RUNNING),
        "pipelineTaskName": producer,
        "pipelineJobResourceName": facts.name,
        "error": {},
    }
    if ended is not None and ended.error:
        status["error"] = {"code": ended.exit_code or 1, "message": ended.error}
    return status


def _artifacts(task: package.Spec, component: package.Spec, dag: Execution) -> Artifacts:
    declared = component.get("inputDefinitions", {}).get("artifacts", {})
    found: Artifacts = {}
    for name, spec in task.get("inputs", {}).get("artifacts", {}).items():
        if "componentInputArtifact" in spec:
            artifacts = dag.artifacts.get(spec["componentInputArtifact"], [])
        else:
            source = spec["taskOutputArtifact"]
            producer = dag.children.get(source["producerTask"])
            artifacts = [] if producer is None else output_artifacts(producer, source["outputArtifactKey"])
        if artifacts:
            found[name] = artifacts
        elif declared.get(name, {}).get("isArtifactList"):
            found[name] = []
        elif not declared.get(name, {}).get("isOptional"):
            raise MissingInputError(
                f"task {dag.path}/{_name(task)}: its input artifact {name} was not made",
                "make the input optional, or see that its task runs",
            )
    return found
