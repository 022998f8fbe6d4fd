"""The record that threads the systems together, and how it is written into each of them.

One frozen record; the writers give it the form that each system keeps: artifact metadata (KFP), annotations
(custom resources), tags (MLflow), a description (Pachyderm commits). `read` takes any of these back.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache

SCHEMA_VERSION = "1"
PREFIX = "chandlery.io/"  # annotation keys of custom resources
TAG_PREFIX = "chandlery."  # keys of MLflow tags and of artifact metadata

RUN_VARIABLE = "CHANDLERY_RUN_ID"
TASK_VARIABLE = "CHANDLERY_TASK"
IMAGE_VARIABLE = "CHANDLERY_IMAGE"


@dataclass(frozen=True)
class Provenance:
    """Where a thing came from. Every field is a string; empty means not known or not applicable yet."""

    run_id: str = ""
    task: str = ""
    data_repo: str = ""
    data_branch: str = ""
    data_commit: str = ""
    recipe: str = ""
    recipe_digest: str = ""
    parameters: str = ""  # JSON object of the hyperparameters, keys sorted
    experiment: str = ""  # name of the Katib Experiment
    trial: str = ""
    mlflow_run_id: str = ""
    model_digest: str = ""
    model_name: str = ""
    model_version: str = ""
    git_commit: str = ""
    image: str = ""

    def with_(self, **changes: str) -> Provenance:
        """Return a copy with the given fields changed."""
        return replace(self, **changes)

    def metadata(self) -> dict[str, str]:
        """Return the form for KFP artifact metadata and MLflow tags: `chandlery.<field>`, empty fields left out."""
        return {f"{TAG_PREFIX}schema_version": SCHEMA_VERSION} | {
            TAG_PREFIX + name: value for name, value in self._known().items()
        }

    def annotations(self) -> dict[str, str]:
        """Return the form for annotations of custom resources: `chandlery.io/<field-with-dashes>`."""
        return {f"{PREFIX}schema-version": SCHEMA_VERSION} | {
            PREFIX + name.replace("_", "-"): value for name, value in self._known().items()
        }

    def description(self) -> str:
        """Return the form for a commit description: one line of JSON."""
        return json.dumps({"chandlery": SCHEMA_VERSION} | self._known(), sort_keys=True)

    def _known(self) -> dict[str, str]:
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}


def read(mapping: Mapping[str, object]) -> Provenance:
    """Read a record back from artifact metadata, MLflow tags or annotations; other keys are ignored."""
    names = {f.name for f in fields(Provenance)}
    found: dict[str, str] = {}
    for key, value in mapping.items():
        for prefix in (PREFIX, TAG_PREFIX):
            name = key.removeprefix(prefix).replace("-", "_")
            if key.startswith(prefix) and name in names:
                found[name] = str(value)
    return Provenance(**found)


def read_description(text: str) -> Provenance:
    """Read a record back from a commit description; a text of another origin gives an empty record."""
    try:
        values = json.loads(text)
    except json.JSONDecodeError:
        return Provenance()
    if not isinstance(values, dict):
        return Provenance()
    return read({TAG_PREFIX + str(key): value for key, value in values.items()})


def current() -> Provenance:
    """Return the record of this process's environment: run, task, image, and the git commit of the working directory."""
    return Provenance(
        run_id=os.environ.get(RUN_VARIABLE, ""),
        task=os.environ.get(TASK_VARIABLE, ""),
        image=os.environ.get(IMAGE_VARIABLE, ""),
        git_commit=os.environ.get("CHANDLERY_GIT_COMMIT") or _git_commit(),
    )


@cache
def _git_commit() -> str:
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{head}-dirty" if changed else head
