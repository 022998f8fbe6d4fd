"""Results of tasks, found again by KFP's fingerprint: the same inputs, outputs, command and image give the same result."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chandlery.embedded.pipelines.execution import Artifacts, Parameters
from chandlery.embedded.pipelines.values import plain
from chandlery.files import write_text


def fingerprint(
    task: Mapping[str, Any],
    component: Mapping[str, Any],
    container: Mapping[str, Any],
    executor_input: Mapping[str, Any],
) -> str:
    """Return what a task's result is found by.

    Args:
        task: the task; its own cache key, where it states one, takes the place of everything but the component's name.
        component: its component.
        container: its command, arguments and image.
        executor_input: what it is given, and what it is to make.
    """
    stated = task.get("cachingOptions", {}).get("cacheKey")
    if stated:
        name = str(task.get("componentRef", {}).get("name", ""))
        return hashlib.sha256((name + "\0" if name else "").encode() + str(stated).encode()).hexdigest()
    inputs, outputs = executor_input["inputs"], executor_input["outputs"]
    types = component.get("outputDefinitions", {}).get("parameters", {})
    key = {
        "inputArtifactNames": {
            name: {"artifactNames": [artifact.get("name", "") for artifact in listed["artifacts"]]}
            for name, listed in inputs.get("artifacts", {}).items()
        },
        "inputParameterValues": plain(inputs.get("parameterValues", {})),
        "outputArtifactsSpec": {
            name: {key: artifact[key] for key in ("name", "type", "metadata") if artifact.get(key)}
            for name, listed in outputs.get("artifacts", {}).items()
            for artifact in listed["artifacts"][:1]
        },
        "outputParametersSpec": {
            name: types[name]["parameterType"] for name in outputs.get("parameters", {})
        },
        "containerSpec": {
            "image": container.get("image", ""),
            "cmdArgs": [*container.get("command", []), *container.get("args", [])],
        },
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Cache:
    """Results on disk, one file each. Results of one pipeline are not found by another, as on a cluster."""

    def __init__(self, root: Path, pipeline: str) -> None:
        """Use the folder `root` for the results of `pipeline`."""
        self._root = root
        self._pipeline = pipeline

    def find(self, key: str) -> tuple[Parameters, Artifacts] | None:
        """Return the outputs of an earlier task; None when there was none, or what it made is not there any more."""
        try:
            entry = json.loads(self._path(key).read_text(encoding="utf-8"))
            artifacts: Artifacts = entry["artifacts"]
            whole = all(
                os.path.exists(artifact["uri"])
                for listed in artifacts.values()
                for artifact in listed
                if "://" not in artifact["uri"] and artifact["uri"] in entry["files"]
            )
            return (entry["parameters"], artifacts) if whole else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, key: str, parameters: Parameters, artifacts: Artifacts) -> None:
        """Remember the outputs of a task."""
        files = [
            artifact["uri"]
            for listed in artifacts.values()
            for artifact in listed
            if "://" not in artifact["uri"] and os.path.exists(artifact["uri"])
        ]
        entry = {"pipeline": self._pipeline, "parameters": parameters, "artifacts": artifacts, "files": files}
        with contextlib.suppress(OSError):  # a full disk: the result is not found again, and that is all
            write_text(self._path(key), json.dumps(entry))

    def _path(self, key: str) -> Path:
        return self._root / f"{self._pipeline}-{key}.json"
