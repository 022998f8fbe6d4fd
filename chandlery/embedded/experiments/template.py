"""Turns a trial's Job into what a process needs: the words of its command, environment, folder, deadline."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chandlery.errors import InvalidDocumentError

_PYTHON = re.compile(r"python(3(\.\d+)?)?")


@dataclass(frozen=True)
class Command:
    """A process to run.

    Attributes:
        words: the command and its arguments.
        environment: variables on top of the controller's own.
        folder: working directory.
        deadline_seconds: when it is ended as failed; 0 for never.
        metrics_file: file that it writes its metrics to; "" when it prints them.
    """

    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = ""
    deadline_seconds: float = 0.0
    metrics_file: str = ""


def substituted(template: Mapping[str, Any], assignments: Mapping[str, str], trial: Mapping[str, str]) -> Any:
    """Return the template's trialSpec with the trial's values in place of its parameters.

    Args:
        template: `spec.trialTemplate`.
        assignments: values by name of the search parameter.
        trial: `Name` and `Namespace` of the trial, for references such as `${trialSpec.Name}`.
    """
    values = {}
    for parameter in template.get("trialParameters") or ():
        reference = parameter["reference"]
        meta = re.fullmatch(r"\$\{trialSpec\.(.+)\}", reference)
        if meta and meta.group(1) not in trial:
            raise InvalidDocumentError(
                f"trial parameter refers to {reference}", f"valid here: {', '.join(trial)}"
            )
        values["${trialParameters." + parameter["name"] + "}"] = (
            trial[meta.group(1)] if meta else assignments[reference]
        )
    return _replaced(template["trialSpec"], values)


def command(
    run: Mapping[str, Any], container_name: str, collector: Mapping[str, Any], folder: Path
) -> Command:
    """Return the command of a trial. A Job's backoffLimit does not count here: a trial that fails has failed.

    Args:
        run: the trial's Job, values in place.
        container_name: the container whose command it is; images and resources mean nothing to a process.
        collector: `metricsCollectorSpec`.
        folder: the trial's own folder; the file of a File collector is moved into it.

    Raises:
        InvalidDocumentError: the Job needs something that a process does not have.
    """
    if (run.get("apiVersion"), run.get("kind")) != ("batch/v1", "Job"):
        raise InvalidDocumentError(
            f"trialSpec is {run.get('kind')!r}", "trials run as processes here: use a batch/v1 Job"
        )
    for key in ("parallelism", "completions"):
        if run["spec"].get(key, 1) != 1:
            raise InvalidDocumentError(
                f"the trial's Job has {key} {run['spec'][key]}", "a trial is one process here"
            )
    pod = run["spec"]["template"]["spec"]
    container = next(c for c in pod["containers"] if c["name"] == container_name)
    others = [
        c["name"] for c in [*pod["containers"], *(pod.get("initContainers") or ())] if c is not container
    ]
    if others:
        raise InvalidDocumentError(
            f"container {others[0]!r} beside the one that trains", "one container here"
        )
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    if not container.get("command"):
        raise InvalidDocumentError(
            "the trial's container has no command", "an image's own entry point is not known here"
        )
    environment = _environment(container)
    words = [re.sub(r"\$\((\w+)\)", lambda m: environment.get(m[1], m[0]), word) for word in map(str, words)]
    if _PYTHON.fullmatch(words[0]):
        words[0] = sys.executable
    path, moved = _metrics_file(collector, folder)
    if path:
        if not any(path in text for text in [*words, *environment.values()]):
            raise InvalidDocumentError(
                f"metrics file {path} is not named in the trial's command or environment",
                "trials share one disk here: pass the path to the program, so that each trial gets its own",
            )
        words = [word.replace(path, moved) for word in words]
        environment = {name: value.replace(path, moved) for name, value in environment.items()}
    return Command(
        words,
        environment,
        container.get("workingDir") or os.getcwd(),
        float(run["spec"].get("activeDeadlineSeconds") or pod.get("activeDeadlineSeconds") or 0),
        moved,
    )


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    for source in container.get("envFrom") or ():
        for reference in source.values():
            if isinstance(reference, Mapping) and not reference.get("optional"):
                raise InvalidDocumentError(
                    f"envFrom {reference.get('name')!r}",
                    "there are no ConfigMaps here: make it optional, or use env",
                )
    environment = {}
    for variable in container.get("env") or ():
        if "valueFrom" in variable:
            raise InvalidDocumentError(f"env {variable['name']!r} has valueFrom", "give it a value here")
        environment[variable["name"]] = str(variable.get("value", ""))
    return environment


def _metrics_file(collector: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    kind = (collector.get("collector") or {}).get("kind", "StdOut")
    if kind not in ("StdOut", "File"):
        raise InvalidDocumentError(
            f"metrics collector {kind!r} does not run here", "valid here: StdOut, File"
        )
    if kind == "StdOut":
        return "", ""
    path = collector["source"]["fileSystemPath"]["path"]
    return path, str(folder / "metrics" / Path(path).name)


def _replaced(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _replaced(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_replaced(value, values) for value in node]
    if isinstance(node, str):
        # In one pass, so that a value which looks like a placeholder is left alone.
        return re.sub(r"\$\{trialParameters\.[^}]*\}", lambda m: values.get(m[0], m[0]), node)
    return node
