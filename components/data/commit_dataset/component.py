"""commit_dataset: bring a dataset under version control."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def commit_dataset(
    source: str,
    repo: str,
    branch: str = "master",
    path: str = "/",
    message: str = "",
    force: bool = False,
    timeout_seconds: int = 3600,
) -> NamedTuple("Outputs", [("commit", str), ("changed", bool), ("files", int), ("bytes", int)]):
    """Commit a file or folder to a branch, all or nothing; unchanged content makes no new commit.

    Args:
        source: local file or folder, `gs://bucket/prefix`, `s3://bucket/prefix` or `http(s)://host/file`.
        repo: Pachyderm repo, `repo` or `project/repo`; created when missing.
        branch: branch; created when missing.
        path: folder of the repo that the source replaces.
        message: what to say about the commit.
        force: make a new commit even when the content is the same.
        timeout_seconds: gives up after this, leaving the branch as it was.

    Returns:
        commit: id of the commit that holds the data.
        changed: this run made that commit; false when the branch held the same content before.
        files: number of files.
        bytes: their size together.
    """
    from collections import namedtuple

    from chandlery.steps.data.commit_dataset import commit_dataset

    made = commit_dataset(source, repo, branch, path, message, force, timeout_seconds)
    outputs = namedtuple("Outputs", ["commit", "changed", "files", "bytes"])
    return outputs(made.commit, made.changed, made.files, made.bytes)
