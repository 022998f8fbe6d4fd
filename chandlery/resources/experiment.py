"""Whether an Experiment can run, decided before anything is created: the rules of Katib's webhook and of its algorithms."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from chandlery.errors import InvalidDocumentError
from chandlery.resources import EXPERIMENT
from chandlery.resources.experiment_space import Dimension, dimensions, grid_size
from chandlery.resources.shape import NUMBER, SCALAR, TEXT, check_shape

EXPERIMENT_LABEL = "katib.kubeflow.org/experiment"  # Katib puts it on every Trial
MAX_NAME_LENGTH = 40  # objects that Katib derives from it append up to 23 characters
COLLECTORS = ("StdOut", "File", "TensorFlowEvent", "PrometheusMetric", "Custom", "Push", "None")

_CONTAINER = {
    "name": TEXT,
    "command": [SCALAR],
    "args": [SCALAR],
    "env": [{"name!": TEXT}],
    "envFrom": [{"*": {"name": TEXT}}],
    "workingDir": TEXT,
}
_POD = {
    "containers!": [{**_CONTAINER, "name!": TEXT}],
    "initContainers": [{"name!": TEXT}],
    "activeDeadlineSeconds": NUMBER,
}
_JOB = {"spec!": {"template!": {"spec!": _POD}, "activeDeadlineSeconds": NUMBER}}
_SETTING = {"name!": TEXT, "value!": SCALAR}
_SHAPE = {
    "metadata": {"annotations": {"*": TEXT}, "labels": {"*": TEXT}},
    "spec": {
        "objective": {
            "objectiveMetricName": TEXT,
            "additionalMetricNames": [TEXT],
            "metricStrategies": [{"name!": TEXT, "value!": TEXT}],
        },
        "parameters": [{"feasibleSpace": {"list": [SCALAR]}}],
        "algorithm": {"algorithmName": TEXT, "algorithmSettings": [_SETTING]},
        "earlyStopping": {"algorithmName": TEXT, "algorithmSettings": [_SETTING]},
        "metricsCollectorSpec": {
            "collector": {"kind": TEXT},
            "source": {
                "fileSystemPath": {"path": TEXT, "kind": TEXT, "format": TEXT},
                "filter": {"metricsFormat": [TEXT]},
            },
        },
        "trialTemplate": {
            "primaryContainerName": TEXT,
            "trialParameters": [{"name!": TEXT, "reference!": TEXT}],
            "trialSpec": {"kind": TEXT, "apiVersion": TEXT},
        },
    },
}

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_PLACEHOLDER = re.compile(r"\$\{trialParameters\.([^}]*)\}")


def check_experiment(document: Mapping[str, Any]) -> None:
    """Check an Experiment.

    Raises:
        InvalidDocumentError: it is not valid; names the field and what is allowed.
    """
    check_shape(document, _SHAPE)
    if document.get("apiVersion") != EXPERIMENT.api_version or document.get("kind") != EXPERIMENT.kind:
        raise InvalidDocumentError(
            f"not an Experiment: {document.get('apiVersion')!r}, {document.get('kind')!r}",
            f"use apiVersion {EXPERIMENT.api_version}, kind {EXPERIMENT.kind}",
        )
    name = (document.get("metadata") or {}).get("name")
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise InvalidDocumentError(
            f"experiment name {name!r} is not valid",
            f"use up to {MAX_NAME_LENGTH} lower-case letters, digits and '-', beginning with a letter",
        )
    spec = document.get("spec") or {}
    _check_counts(spec)
    _check_objective(spec.get("objective") or {})
    space = dimensions(spec.get("parameters") or ())
    _check_algorithm(spec.get("algorithm") or {}, space, spec.get("maxTrialCount"))
    _check_early_stopping(spec.get("earlyStopping"))
    _check_collector(spec.get("metricsCollectorSpec") or {})
    _check_template(spec.get("trialTemplate") or {}, space)


def settings_of(part: Mapping[str, Any]) -> dict[str, str]:
    """Return `algorithmSettings` of an algorithm or of early stopping as a mapping."""
    return {setting["name"]: str(setting["value"]) for setting in part.get("algorithmSettings") or ()}


def _check_counts(spec: Mapping[str, Any]) -> None:
    trials = spec.get("maxTrialCount")
    for key, least in (("maxTrialCount", 1), ("parallelTrialCount", 1), ("maxFailedTrialCount", 0)):
        count = spec.get(key)
        if count is None:
            continue
        if not isinstance(count, int) or isinstance(count, bool) or count < least:
            raise InvalidDocumentError(f"spec.{key} is {count!r}", f"use a whole number of at least {least}")
        if trials is not None and count > trials:
            raise InvalidDocumentError(
                f"spec.{key} {count} > maxTrialCount {trials}", f"use at most {trials}"
            )


def _check_objective(objective: Mapping[str, Any]) -> None:
    if objective.get("type") not in ("maximize", "minimize"):
        raise InvalidDocumentError(
            f"spec.objective.type is {objective.get('type')!r}", "valid: maximize, minimize"
        )
    if not objective.get("objectiveMetricName"):
        raise InvalidDocumentError(
            "spec.objective.objectiveMetricName is missing", "name the metric to search by"
        )
    if objective["objectiveMetricName"] in (objective.get("additionalMetricNames") or ()):
        raise InvalidDocumentError(
            "spec.objective.additionalMetricNames holds the objective too", "name it once"
        )
    for strategy in objective.get("metricStrategies") or ():
        if strategy.get("value") not in ("min", "max", "latest"):
            raise InvalidDocumentError(
                f"metric strategy {strategy.get('value')!r} of {strategy.get('name')!r}",
                "valid: min, max, latest",
            )


def _check_algorithm(
    algorithm: Mapping[str, Any], space: tuple[Dimension, ...], max_trials: int | None
) -> None:
    name = algorithm.get("algorithmName")
    if not name:
        raise InvalidDocumentError(
            "spec.algorithm.algorithmName is missing", "name an algorithm, for example random"
        )
    if name == "grid":
        for dimension in space:
            if dimension.type == "double" and not dimension.step and dimension.minimum < dimension.maximum:
                raise InvalidDocumentError(
                    f"parameter {dimension.name!r}: grid needs a step for a double",
                    "give it a step, or use discrete",
                )
        if max_trials is not None and max_trials > grid_size(space):
            raise InvalidDocumentError(
                f"spec.maxTrialCount {max_trials} > {grid_size(space)} points of the grid",
                f"use at most {grid_size(space)}",
            )
    if name == "cmaes":
        ranges = [dimension for dimension in space if dimension.type in ("double", "int")]
        if len(ranges) < 2 or len(ranges) < len(space):
            raise InvalidDocumentError(
                "cmaes needs two or more parameters, all of them double or int",
                "use tpe or random for this space",
            )


def _check_early_stopping(stopping: Mapping[str, Any] | None) -> None:
    if stopping is None:
        return
    if stopping.get("algorithmName") != "medianstop":
        raise InvalidDocumentError(
            f"unknown early stopping {stopping.get('algorithmName')!r}", "valid: medianstop"
        )
    for name, text in settings_of(stopping).items():
        if name not in ("min_trials_required", "start_step"):
            raise InvalidDocumentError(
                f"unknown setting {name!r} of medianstop", "valid: min_trials_required, start_step"
            )
        if not text.isdecimal() or int(text) < 1:
            raise InvalidDocumentError(
                f"setting {name!r} of medianstop is {text!r}", "use a whole number of at least 1"
            )


def _check_collector(collector: Mapping[str, Any]) -> None:
    kind = (collector.get("collector") or {}).get("kind", "StdOut")
    source = collector.get("source") or {}
    if kind not in COLLECTORS:
        raise InvalidDocumentError(f"unknown metrics collector {kind!r}", f"valid: {', '.join(COLLECTORS)}")
    if kind == "File":
        file = source.get("fileSystemPath") or {}
        if file.get("kind") != "File" or not str(file.get("path", "")).startswith("/"):
            raise InvalidDocumentError(
                "the File collector needs source.fileSystemPath of kind File with an absolute path",
                "name the file",
            )
        if file.get("format") not in ("TEXT", "JSON"):
            raise InvalidDocumentError(
                f"the metrics file's format is {file.get('format')!r}", "valid: TEXT, JSON"
            )
    for pattern in (source.get("filter") or {}).get("metricsFormat") or ():
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise InvalidDocumentError(
                f"metricsFormat {pattern!r}: {error}", "use a regular expression"
            ) from error
        if groups < 2:
            raise InvalidDocumentError(
                f"metricsFormat {pattern!r} has no two groups", "one for the name, one for the value"
            )


def _check_template(template: Mapping[str, Any], space: tuple[Dimension, ...]) -> None:
    if not template.get("primaryContainerName"):
        raise InvalidDocumentError(
            "spec.trialTemplate.primaryContainerName is missing", "name the container that trains"
        )
    run = template.get("trialSpec")
    if not isinstance(run, Mapping) or not run.get("apiVersion") or not run.get("kind"):
        raise InvalidDocumentError(
            "spec.trialTemplate.trialSpec is missing or has no kind", "use a batch/v1 Job"
        )
    if run["kind"] == "Job":
        check_shape(run, _JOB)
    named = {
        parameter.get("name"): parameter.get("reference")
        for parameter in template.get("trialParameters") or ()
    }
    known = {dimension.name for dimension in space}
    for name, reference in named.items():
        if reference not in known and not str(reference).startswith("${trialSpec."):
            raise InvalidDocumentError(
                f"trial parameter {name!r} refers to {reference!r}", f"valid: {', '.join(sorted(known))}"
            )
    used = set(_PLACEHOLDER.findall(json.dumps(run)))
    for name in sorted(used ^ set(named)):
        what = "is used but not declared" if name in used else "is declared but not used"
        raise InvalidDocumentError(
            f"trial parameter {name!r} {what}", "trialParameters and trialSpec must agree"
        )
    if run["kind"] == "Job":
        containers = run.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or ()
        if template["primaryContainerName"] not in [container.get("name") for container in containers]:
            raise InvalidDocumentError(
                f"no container {template['primaryContainerName']!r} in the trial's Job",
                "name one of its containers",
            )
