"""Everything that a registered version keeps, laid out in one folder before it is uploaded.

model/                 the model package: definition and weights, featurize and predict functions (the recipe's
source), locked dependencies
data.json              the data commit
generation.json        generation code: git commit, entry point, image, hyperparameters, search space
experiment/            experiment artifacts: metrics, curves, trial table, reports
tags.json              owner, task and all other tags
model_card.md          the model card
files.json             size and SHA-256 of each of the above, written last
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chandlery.model import Manifest, read_manifest
from chandlery.provenance import Provenance, read
from chandlery.recipe import Recipe, load_snapshot
from chandlery.registry.download import INDEX, PACKAGE
from chandlery.registry.reproduce import SEED_TAG, command
from chandlery.registry.tracking import dataset_source

ENTRY_POINT = "chandlery.training.fitting:fit"
CARD = "model_card.md"
BLOCK = 1 << 20


@dataclass(frozen=True)
class About:
    """What people say of a model, for its card and tags.

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
        about: what people say of it.
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
        """Return the version's tags: provenance, owner, task."""
        extra = {"owner": self.about.owner, "task": self.manifest.task, SEED_TAG: self.seed}
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
        about: what people say of it.
        seed: seed of the training.
        slices: figures of parts of the test split, one row each.

    Raises:
        ModelLoadError: the folder is no model package.
        RecipeError: the recipe inside it cannot be loaded.
    """
    manifest = read_manifest(package)
    trained = read(manifest.provenance)
    # What the package says of its training stands; this step's record fills the gaps.
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


def write_bundle(given: Submission, folder: Path) -> None:
    """Lay out everything of a version below `folder`, which must not exist."""
    from chandlery.registry.card import model_card

    shutil.copytree(given.package, folder / PACKAGE)
    _write_json(folder / "data.json", dataset_source(given.record))
    _write_json(folder / "generation.json", generation(given))
    for name, path in given.experiment.items():
        copy = folder / "experiment" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, copy)
        else:
            shutil.copyfile(path, copy)
    _write_json(folder / "experiment" / "metrics.json", given.metrics)
    _write_json(folder / "tags.json", given.tags())
    (folder / CARD).write_text(model_card(given), encoding="utf-8")
    _write_json(folder / INDEX, _index(folder))


def generation(given: Submission) -> dict[str, Any]:
    """Return how the model was made: code, environment, hyperparameters and the space that was searched."""
    record = given.record
    return {
        "git_commit": record.git_commit,
        "entry_point": ENTRY_POINT,
        "recipe": record.recipe,
        "image": record.image,
        "requirements": f"{PACKAGE}/requirements.txt",
        "hyperparameters": dict(given.manifest.parameters),
        "search_space": [asdict(parameter) for parameter in given.recipe.search_space],
        "seed": given.seed,
        "experiment": record.experiment,
        "trial": record.trial,
        "run": record.run_id,
        "command": command(f"sha256:{given.manifest.digest}"),
    }


def _index(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        path.relative_to(folder).as_posix(): {"sha256": _sha256(path), "size": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
