"""The body of `rollback_model`."""

from __future__ import annotations

from chandlery.registry.aliases import rollback
from chandlery.steps.artifacts import yes
from chandlery.steps.registry.promote_model import AliasOutputs


def rollback_model(model_name: str, to_version: str, reason: str) -> AliasOutputs:
    """Make the previous champion champion again; see `chandlery.registry.aliases.rollback`."""
    done = rollback(model_name, to_version, reason)
    return AliasOutputs(done.version, done.previous, yes(done.changed), done.reason)
