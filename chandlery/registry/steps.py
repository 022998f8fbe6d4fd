"""The bodies of the registry's components: artifacts and parameters in, one call, what the pipeline needs out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from chandlery import provenance
from chandlery.errors import UserError
from chandlery.registry.aliases import promote, rollback
from chandlery.registry.register import register
from chandlery.registry.reproduce import SEED_TAG
from chandlery.registry.submission import About, submission
from chandlery.runs import note


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
    metrics: Artifact,
    evaluation: Artifact,
    comparison: Artifact,
    curves: Artifact,
    trials: Artifact,
    model_name: str,
    about: About,
) -> RegisterOutputs:
    """Register a trained model with what its training, search and evaluation left.

    Raises:
        UserError: `metrics` is not the file that `evaluate_model` writes.
        ModelLoadError: `model` is no model package.
        RegistryError: MLflow cannot be reached, or refuses.
    """
    figures = _figures(Path(metrics.path))
    given = submission(
        name=model_name,
        package=Path(model.path),
        record=provenance.current(),
        metrics=figures["metrics"],
        experiment={
            "evaluation.json": Path(metrics.path),
            "evaluation.html": Path(evaluation.path),
            "comparison.html": Path(comparison.path),
            "curves.html": Path(curves.path),
            "trials.csv": Path(trials.path),
        },
        about=about,
        seed=str(model.metadata.get(SEED_TAG, "")),
        slices=[
            {"column": s["column"], "value": s["value"], "rows": s["rows"], **s["metrics"]}
            for s in figures.get("slices", [])
        ],
    )
    done = register(given)
    note({"model_name": model_name, "model_version": done.version, "created": done.created})
    return RegisterOutputs(done.version, f"models:/{model_name}/{done.version}", _yes(done.created))


def promote_model(model_name: str, version: str, reason: str) -> AliasOutputs:
    """Make a version champion; see `chandlery.registry.aliases.promote`."""
    done = promote(model_name, version, reason)
    note({"champion_now": done.version, "champion_before": done.previous})
    return AliasOutputs(done.version, done.previous, _yes(done.changed), done.reason)


def rollback_model(model_name: str, to_version: str, reason: str) -> AliasOutputs:
    """Make the previous champion champion again; see `chandlery.registry.aliases.rollback`."""
    done = rollback(model_name, to_version, reason)
    return AliasOutputs(done.version, done.previous, _yes(done.changed), done.reason)


def _figures(path: Path) -> dict[str, Any]:
    try:
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"metrics at {path}: {error}", "give the metrics that evaluate_model wrote"
        ) from error
    if not isinstance(figures, dict) or "metrics" not in figures:
        raise UserError(f"metrics at {path}: no figures in it", "give the metrics that evaluate_model wrote")
    return figures


def _yes(value: bool) -> str:
    return "yes" if value else "no"
