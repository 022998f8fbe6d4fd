"""A trained model on its way into the registry, and its description by people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chandlery.model import Manifest, light_runtime, read_manifest
from chandlery.provenance import Provenance, read
from chandlery.recipe import Recipe, load_snapshot
from chandlery.registry.versions import SEED_TAG


@dataclass(frozen=True)
class About:
    """Description of a model by people, for its card and tags.

    Attributes:
        description: what it is for, a sentence or two.
        owner: team or person to ask.
        intended_use: what it may be used for.
        limits: what it must not be used for, and known weaknesses.
    """

    description: str = ""
    owner: str = ""
    intended_use: str = ""
    limits: str = ""


@dataclass(frozen=True)
class Submission:
    """A trained model on its way into the registry.

    Attributes:
        name: name of the registered model.
        package: folder of the model package.
        manifest: its manifest.
        record: provenance, complete but for the version.
        recipe: the recipe inside the package.
        metrics: figures by name: of the validation split by their own name, those of the test split as `test_<name>`.
        experiment: files by the name that they get below `experiment/`.
        about: its description by people.
        seed: seed of the training; "" when not known.
        slices: figures of parts of the test split, one row each.
    """

    name: str
    package: Path
    manifest: Manifest
    record: Provenance
    recipe: Recipe
    metrics: dict[str, float]
    experiment: Mapping[str, Path]
    about: About = field(default_factory=About)
    seed: str = ""
    slices: Sequence[Mapping[str, Any]] = ()

    def tags(self) -> dict[str, str]:
        """Return the version's tags: provenance, owner, task, what is known of the light runtime."""
        extra = {
            "owner": self.about.owner,
            "task": self.manifest.task,
            SEED_TAG: self.seed,
            "chandlery.light_runtime": light_runtime(self.manifest),
        }
        return self.record.metadata() | {name: value for name, value in extra.items() if value}


def submission(
    name: str,
    package: Path,
    record: Provenance,
    metrics: Mapping[str, float],
    experiment: Mapping[str, Path],
    about: About,
    seed: str = "",
    slices: Sequence[Mapping[str, Any]] = (),
) -> Submission:
    """Read a model package and put together what will be registered.

    Args:
        name: name of the registered model.
        package: folder of the model package.
        record: what this step knows of its own origin; the package's record goes before it.
        metrics: figures of the test split, by the recipe's names.
        experiment: files to keep, by name.
        about: its description by people.
        seed: seed of the training.
        slices: figures of parts of the test split, one row each.

    Raises:
        ModelLoadError: the folder is not a model package.
        RecipeError: the recipe inside it cannot be loaded.
    """
    manifest = read_manifest(package)
    trained = read(manifest.provenance)
    # The package's own record of its training counts; this step's record fills the gaps.
    known = {field: value for field, value in asdict(trained).items() if value}
    return Submission(
        name=name,
        package=package,
        manifest=manifest,
        record=record.with_(**known).with_(model_digest=manifest.digest, model_name=name),
        recipe=load_snapshot(package / "recipe", manifest.recipe).recipe,
        metrics=dict(manifest.metrics) | {f"test_{k}": float(v) for k, v in metrics.items()},
        experiment=experiment,
        about=about,
        seed=seed or manifest.provenance.get(SEED_TAG, ""),
        slices=slices,
    )
