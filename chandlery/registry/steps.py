"""The bodies of the registry's components: artifacts and parameters in, one call, what the pipeline needs out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from chandlery import provenance
from chandlery.registry.aliases import promote, rollback
from chandlery.registry.bundle import About, submission
from chandlery.registry.register import register
from chandlery.registry.reproduce import SEED_TAG


class Artifact(Protocol):
    """What the steps need of a KFP artifact."""

    path: str
    metadata: dict[str, Any]


class RegisterOutputs(NamedTuple):
    """Outputs of `register_model`."""

    version: str
    uri: str
    created: str


class AliasOutputs(NamedTuple):
    """Outputs of `promote_model` and `rollback_model`."""

    version: str
    previous_version: str
    changed: str
    reason: str


def register_model(
    model: Artifact,
    evaluation: Artifact,
    comparison: Artifact,
    curves: Artifact,
    trials: Artifact,
    model_name: str,
    about: About,
) -> RegisterOutputs:
    """Register a trained model with what its training, search and evaluation left.

    The evaluation's metadata may hold `metrics` (name -> number, test split) and `slices` (a list of rows).

    Raises:
        ModelLoadError: `model` is no model package.
        RegistryError: MLflow cannot be reached, or refuses.
    """
    given = submission(
        name=model_name,
        package=Path(model.path),
        record=provenance.current(),
        metrics=_numbers(evaluation.metadata.get("metrics")),
        experiment={
            "evaluation.html": Path(evaluation.path),
            "comparison.html": Path(comparison.path),
            "curves.html": Path(curves.path),
            "trials.csv": Path(trials.path),
        },
        about=about,
        seed=str(model.metadata.get(SEED_TAG, "")),
        slices=_rows(evaluation.metadata.get("slices")),
    )
    done = register(given)
    return RegisterOutputs(done.version, f"models:/{model_name}/{done.version}", _yes(done.created))


def promote_model(model_name: str, version: str, reason: str) -> AliasOutputs:
    """Make a version champion; see `chandlery.registry.aliases.promote`."""
    done = promote(model_name, version, reason)
    return AliasOutputs(done.version, done.previous, _yes(done.changed), done.reason)


def rollback_model(model_name: str, to_version: str, reason: str) -> AliasOutputs:
    """Make the previous champion champion again; see `chandlery.registry.aliases.rollback`."""
    done = rollback(model_name, to_version, reason)
    return AliasOutputs(done.version, done.previous, _yes(done.changed), done.reason)


def _numbers(value: Any) -> dict[str, float]:
    found = json.loads(value) if isinstance(value, str) else value or {}
    return {name: float(v) for name, v in found.items() if isinstance(v, int | float)}


def _rows(value: Any) -> list[dict[str, Any]]:
    return list(json.loads(value) if isinstance(value, str) else value or [])


def _yes(value: bool) -> str:
    return "yes" if value else "no"
