"""checkout_dataset: a commit's files as a dataset, pinned to that commit."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def checkout_dataset(
    repo: str,
    ref: str,
    dataset: dsl.Output[dsl.Dataset],
    path: str = "/",
    timeout_seconds: int = 3600,
) -> NamedTuple("Outputs", [("commit", str), ("files", int), ("bytes", int)]):
    """Write the files of a branch, a commit or an ancestor to a dataset that knows its commit.

    Args:
        repo: Pachyderm repo, `repo` or `project/repo`.
        ref: branch, commit id or ancestor (`master^`, `master~2`, `master.1`). The step is cached: give it a
            commit (`resolve_inputs` finds it), or it does not notice that a branch has moved.
        dataset: folder of the files, names decoded; its metadata carry repo, branch, commit and content digest.
        path: folder of the commit to take; its files come without it.
        timeout_seconds: longest wait for a commit that is being written.

    Returns:
        commit: id of the commit.
        files: number of files.
        bytes: their size together.
    """
    from chandlery.steps.data.checkout_dataset import checkout_dataset

    return checkout_dataset(repo, ref, path, timeout_seconds, dataset)
