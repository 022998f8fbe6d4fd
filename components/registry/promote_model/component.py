"""promote_model: let alias `champion` point to a version."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def promote_model(model_name: str, version: str, reason: str = "") -> NamedTuple(
    "Outputs", [("version", str), ("previous_version", str), ("changed", str), ("reason", str)]
):
    """Make a registered version the champion and remember the one before it. Doing it again changes nothing.

    Args:
        model_name: registered model.
        version: version number, or an alias such as `challenger`.
        reason: why; kept with the version.

    Returns:
        version: the champion now.
        previous_version: the champion before; empty when there was none.
        changed: `yes`, or `no` when the version was champion already.
        reason: what happened, in one sentence.
    """
    from chandlery.steps.registry.promote_model import promote_model

    return promote_model(model_name, version, reason)
