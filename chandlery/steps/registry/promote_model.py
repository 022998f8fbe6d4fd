"""The body of `promote_model`."""

from __future__ import annotations

from typing import NamedTuple

from chandlery.registry.aliases import promote
from chandlery.steps.artifacts import yes


class AliasOutputs(NamedTuple):
    """Outputs of `promote_model` and `rollback_model`."""

    version: str
    previous_version: str
    changed: str
    reason: str


def promote_model(model_name: str, version: str, reason: str) -> AliasOutputs:
    """Make a version champion; see `chandlery.registry.aliases.promote`."""
    done = promote(model_name, version, reason)
    return AliasOutputs(done.version, done.previous, yes(done.changed), done.reason)
