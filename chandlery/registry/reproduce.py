"""The command that trains a registered version again."""

from __future__ import annotations

import json
import shlex

from chandlery.provenance import Provenance
from chandlery.registry.versions import resolve, version_info


def reproduce_command(version: str) -> str:
    """Return the command that trains a version again from the same data, code and hyperparameters.

    Args:
        version: `models:/name/3` or `models:/name@alias`.

    Raises:
        NotFoundError: no such version or alias.
        RegistryError: MLflow cannot be reached.
    """
    name, number = resolve(version)
    return command(version_info(name, number).provenance)


def command(record: Provenance) -> str:
    """Return the training command of a provenance record; it starts by checking out its git commit when that is known."""
    parts = ["python", "-m", "chandlery.training.trial", "--recipe", record.recipe]
    if record.data_repo:
        parts += ["--repo", record.data_repo, "--commit", record.data_commit]
    for name, value in sorted(json.loads(record.parameters or "{}").items()):
        parts += ["--parameter", f"{name}={value}"]
    line = shlex.join(parts)
    commit = record.git_commit.removesuffix("-dirty")
    return f"git checkout {commit} && {line}" if commit else line
