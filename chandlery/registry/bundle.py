"""Everything that a registered version keeps, laid out in one folder before it is uploaded.

model/                 the model package: definition and weights, featurize and predict functions (the recipe's
source), locked dependencies
data.json              the data commit
generation.json        generation code: git commit, entry point, image, hyperparameters, search space
experiment/            experiment artifacts: metrics, curves, trial table, reports
tags.json              owner, task and all other tags
model_card.md          the model card
MLmodel                how MLflow's own loaders find the model in the package
files.json             size and SHA-256 of each of the above, written last
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chandlery.registry.card import model_card
from chandlery.registry.download import INDEX, PACKAGE
from chandlery.registry.mlmodel import MLMODEL, mlmodel
from chandlery.registry.submission import Submission
from chandlery.registry.tracking import dataset_source
from chandlery.registry.versions import command

ENTRY_POINT = "chandlery.training.fitting:fit"
CARD = "model_card.md"
BLOCK = 1 << 20


def write_bundle(given: Submission, folder: Path) -> None:
    """Lay out everything of a version below `folder`, which must not exist."""
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
    (folder / MLMODEL).write_text(mlmodel(given.package, given.manifest, PACKAGE), encoding="utf-8")
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
