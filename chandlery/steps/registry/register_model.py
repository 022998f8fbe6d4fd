"""The body of `register_model`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from chandlery import provenance
from chandlery.errors import UserError
from chandlery.registry.register import register
from chandlery.registry.submission import About, submission
from chandlery.registry.versions import SEED_TAG
from chandlery.runs import RunFacts, note
from chandlery.steps.artifacts import Artifact, yes

__all__ = ["About", "register_model"]


class RegisterOutputs(NamedTuple):
    """Outputs of `register_model`."""

    version: str
    uri: str
    created: str


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
        ModelLoadError: `model` is not a model package.
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
    note(RunFacts(model_version=done.version))
    return RegisterOutputs(done.version, f"models:/{model_name}/{done.version}", yes(done.created))


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
