"""resolve_inputs: pin what a run depends on, so that every later step is pure."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def resolve_inputs(
    repo: str,
    ref: str = "master",
    model_name: str = "",
    timeout_seconds: int = 600,
) -> NamedTuple("Outputs", [("commit", str), ("champion_version", str)]):
    """Find the commit behind a reference and the model version behind the alias `champion`.

    Args:
        repo: Pachyderm repo, `repo` or `project/repo`.
        ref: branch, commit id or ancestor (`master^`, `master~2`, `master.1`).
        model_name: registered model; empty: no model is looked up.
        timeout_seconds: longest wait for a commit that is being written.

    Returns:
        commit: id of the commit, finished and without error.
        champion_version: version of the champion; empty when there is none.
    """
    from chandlery.steps.data.resolve_inputs import resolve_inputs

    return resolve_inputs(repo, ref, model_name, timeout_seconds)
