"""KFP's artifacts as the steps see them: a path and metadata; how reports, figures and provenance are written to them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from chandlery import provenance
from chandlery.files import write_text
from chandlery.provenance import Provenance
from chandlery.report import Report
from chandlery.resources.port import Document


class Artifact(Protocol):
    """An artifact of KFP, input or output."""

    path: str
    metadata: dict[str, Any]


def record_of(dataset: Artifact) -> Provenance:
    """Return the record of this step: its environment, and the data that it works on."""
    data = provenance.read(dataset.metadata)
    return provenance.current().with_(
        data_repo=data.data_repo, data_branch=data.data_branch, data_commit=data.data_commit
    )


def data_name(dataset: Artifact) -> str:
    """Return a name of the dataset that never changes: `repo@commit`, or its path when the commit is not recorded."""
    data = provenance.read(dataset.metadata)
    return f"{data.data_repo}@{data.data_commit}" if data.data_commit else str(Path(dataset.path).resolve())


def write_json(artifact: Artifact, content: Mapping[str, Any]) -> None:
    """Write the artifact's file atomically, NaN as null. An output without a file is never found in KFP's cache."""
    write_text(Path(artifact.path), json.dumps(_plain(content), indent=2, sort_keys=True) + "\n")


def publish(
    html: Artifact, metrics: Artifact, page: Report, values: Mapping[str, float], record: Provenance
) -> None:
    """Fill an HTML and a Metrics artifact: a file for each, figures and provenance as metadata."""
    page.write(html.path)
    html.metadata.update(record.metadata())
    write_json(metrics, values)
    metrics.metadata.update({**record.metadata(), **values})


def write_document(artifact: Artifact, document: Document) -> None:
    """Write a custom resource as YAML, its provenance as metadata."""
    import yaml

    write_text(Path(artifact.path), yaml.safe_dump(document, sort_keys=False, width=110))
    artifact.metadata.update(provenance.read(document["metadata"].get("annotations", {})).metadata())


def yes(value: bool) -> str:
    """Return `yes` or `no`: KFP's conditions compare texts."""
    return "yes" if value else "no"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
