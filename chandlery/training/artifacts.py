"""What the steps need of KFP's artifacts: a path and metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from chandlery import provenance
from chandlery.files import write_text
from chandlery.provenance import Provenance


class Artifact(Protocol):
    """An artifact of KFP, input or output."""

    path: str
    metadata: dict[str, Any]


def record_of(dataset: Artifact) -> Provenance:
    """Return the record of this step: what the environment says, and which data it works on."""
    data = provenance.read(dataset.metadata)
    return provenance.current().with_(
        data_repo=data.data_repo, data_branch=data.data_branch, data_commit=data.data_commit
    )


def data_name(dataset: Artifact) -> str:
    """Return what names the dataset for good: `repo@commit`, or where it lies when nobody recorded that."""
    data = provenance.read(dataset.metadata)
    return f"{data.data_repo}@{data.data_commit}" if data.data_commit else str(Path(dataset.path).resolve())


def write_json(artifact: Artifact, content: Mapping[str, Any]) -> None:
    """Write the artifact's file atomically, NaN as null. An output without a file is never found in KFP's cache."""
    write_text(Path(artifact.path), json.dumps(_plain(content), indent=2, sort_keys=True) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
