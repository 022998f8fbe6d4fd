"""rollback_model: let alias `champion` point to the version before."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def rollback_model(model_name: str, to_version: str = "", reason: str = "") -> NamedTuple(
    "Outputs", [("version", str), ("previous_version", str), ("changed", str), ("reason", str)]
):
    """Make the previous champion, or a version named, the champion again. Doing it again changes nothing.

    Args:
        model_name: registered model.
        to_version: version to go back to; empty: the previous champion.
        reason: why; kept with the version that loses its place.

    Returns:
        version: the champion now.
        previous_version: the champion before; empty when nothing changed.
        changed: `yes`, or `no` when the version was champion already.
        reason: what happened, in one sentence.
    """
    from chandlery.steps.registry.rollback_model import rollback_model

    return rollback_model(model_name, to_version, reason)
