"""Small compiled pipelines, written as kfp's compiler writes them."""

from __future__ import annotations

import json
from typing import Any

Spec = dict[str, Any]


def pipeline(tasks: Spec, components: Spec | None = None, root: Spec | None = None, **more: Any) -> Spec:
    """Return a PipelineSpec whose components `comp-NAME` are executed as `exec-NAME`."""
    found: Spec = {
        "pipelineInfo": {"name": "small"},
        "schemaVersion": "2.1.0",
        "root": {"dag": {"tasks": tasks}, **(root or {})},
        "components": components or {"comp-work": work()},
        "deploymentSpec": {
            "executors": {"exec-work": {"container": {"image": "python:3.11", "command": ["true"]}}}
        },
    }
    return {**found, **more}


def work(inputs: Spec | None = None, outputs: Spec | None = None, label: str = "exec-work") -> Spec:
    """Return a component that does work."""
    return {
        "executorLabel": label,
        "inputDefinitions": {"parameters": inputs or {}},
        "outputDefinitions": {"parameters": outputs or {}},
    }


def task(component: str = "comp-work", name: str = "t", **more: Any) -> Spec:
    """Return a task of a component."""
    return {"componentRef": {"name": component}, "taskInfo": {"name": name}, **more}


def text(spec: Spec) -> str:
    """Return a spec as a compiled file."""
    return json.dumps(spec)
