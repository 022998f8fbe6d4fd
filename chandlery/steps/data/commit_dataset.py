"""The body of `commit_dataset`."""

from __future__ import annotations

from chandlery.data.uploads import Committed, commit
from chandlery.lean import load_pachyderm


def commit_dataset(
    source: str, repo: str, branch: str, path: str, message: str, force: bool, timeout_seconds: int
) -> Committed:
    """Commit a source to a folder of a branch; see `chandlery.data.commit`."""
    load_pachyderm()
    return commit(source, repo, branch, path, message, force, float(timeout_seconds))
