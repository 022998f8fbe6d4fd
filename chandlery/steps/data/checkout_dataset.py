"""The body of `checkout_dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chandlery import provenance
from chandlery.data.checkouts import fetch, link
from chandlery.data.references import branch_of
from chandlery.lean import load_pachyderm


def checkout_dataset(
    repo: str, ref: str, path: str, timeout_seconds: int, dataset: Any
) -> tuple[str, int, int]:
    """Write a commit's files to a dataset artifact, pinned to its commit.

    Args:
        repo: repo.
        ref: branch, commit or ancestor.
        path: folder of the commit.
        timeout_seconds: longest wait for a commit that is being written.
        dataset: artifact to write: a folder.

    Returns:
        commit id, number of files, bytes.
    """
    load_pachyderm()
    found = fetch(repo, ref, path, float(timeout_seconds))
    link(found, Path(dataset.path))
    record = provenance.current().with_(
        data_repo=repo, data_branch=branch_of(ref), data_commit=found.pinned.commit
    )
    dataset.metadata.update(record.metadata())
    dataset.metadata.update(
        {
            "chandlery.path": path,
            "chandlery.files": len(found.files),
            "chandlery.bytes": found.bytes,
            "chandlery.content": found.content,
        }
    )
    return found.pinned.commit, len(found.files), found.bytes
