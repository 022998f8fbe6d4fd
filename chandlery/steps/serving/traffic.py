"""The rows that a replay sends: a data commit, read and judged by the recipe of a model version."""

from __future__ import annotations

from pathlib import Path

from chandlery.arrays import concatenate, count
from chandlery.canary.replay.sender import PARTS, Traffic, choose
from chandlery.errors import UserError
from chandlery.recipe import Columns, Recipe, part_of, take

REPLAYED_ROWS = 100_000  # most rows that a replay holds of a dataset that is read in chunks


def load_traffic(repo: str, ref: str, model_name: str, version: str, part: str = "auto") -> Traffic:
    """Return the labelled rows of a data commit, as the recipe of a model version reads them.

    Args:
        repo: Pachyderm repo.
        ref: branch, commit or ancestor.
        model_name: registered model.
        version: the version in force.
        part: `test`, `validation` or `train` split, `all` rows, or `auto`: the test split of the repo that the version
            was trained on, all rows of another.

    Raises:
        UserError: unknown part, or one without rows.
        RecipeError: the recipe cannot read the data.
        NotFoundError: no such repo, commit or version.
    """
    from chandlery import data, provenance, registry
    from chandlery.model import read_manifest
    from chandlery.recipe import load_snapshot

    if part not in PARTS:
        raise UserError(f"replay: unknown part {part!r} of the data", f"valid parts: {', '.join(PARTS)}")
    package = registry.download(model_name, version)
    manifest = read_manifest(package)
    recipe = load_snapshot(package / "recipe", manifest.recipe).recipe
    if part == "auto":
        part = "test" if provenance.read(manifest.provenance).data_repo in ("", repo) else "all"
    return choose(recipe, _read(recipe, data.checkout(repo, ref), part), part, f"{repo}@{ref}")


def _read(recipe: Recipe, folder: Path, part: str) -> Columns:
    """Return the rows of a dataset; of one that is read in chunks, the first ones of the part."""
    from chandlery.training.dataset import Chunks, open_rows

    rows = open_rows(recipe, folder)
    if not isinstance(rows, Chunks):
        return rows
    found: list[Columns] = []
    for chunk in rows:
        found.append(chunk if part == "all" else take(chunk, part_of(recipe, chunk) == part))
        if sum(map(count, found)) >= REPLAYED_ROWS:
            break
    whole: Columns = concatenate(found)
    return whole
