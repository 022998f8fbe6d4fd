"""The bodies of the data components: artifacts in, artifacts out, everything else in the modules beside."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from chandlery import provenance
from chandlery.data.checkouts import fetch, link
from chandlery.data.client import connect
from chandlery.data.references import branch_of, resolve
from chandlery.data.uploads import Committed, commit
from chandlery.errors import RecipeError, UserError, ValidationFailedError
from chandlery.lean import load_pachyderm
from chandlery.progress import report as tell


def commit_dataset(
    source: str, repo: str, branch: str, path: str, message: str, force: bool, timeout_seconds: int
) -> Committed:
    """Commit a source to a folder of a branch; see `chandlery.data.commit`."""
    load_pachyderm()
    return commit(source, repo, branch, path, message, force, float(timeout_seconds))


def checkout_dataset(
    repo: str, ref: str, path: str, timeout_seconds: int, dataset: Any
) -> tuple[str, int, int]:
    """Write a commit's files to a dataset artifact, pinned to its commit.

    Args:
        repo: repo.
        ref: branch, commit or ancestor.
        path: folder of the commit.
        timeout_seconds: longest wait for a commit that is being written.
        dataset: artifact to write: a folder.

    Returns:
        commit id, number of files, bytes.
    """
    load_pachyderm()
    found = fetch(repo, ref, path, float(timeout_seconds))
    link(found, Path(dataset.path))
    record = provenance.current().with_(
        data_repo=repo, data_branch=branch_of(ref), data_commit=found.pinned.commit
    )
    dataset.metadata.update(record.metadata())
    dataset.metadata.update(
        {
            "chandlery.path": path,
            "chandlery.files": len(found.files),
            "chandlery.bytes": found.bytes,
            "chandlery.content": found.content,
        }
    )
    return found.pinned.commit, len(found.files), found.bytes


def resolve_inputs(repo: str, ref: str, model_name: str, timeout_seconds: int) -> tuple[str, str]:
    """Pin what a run depends on: the commit behind a reference, the version behind the alias `champion`.

    Returns:
        commit id; version of the champion, empty when there is none or no model was named.
    """
    load_pachyderm()
    with connect() as client:
        pinned = resolve(client, repo, ref, float(timeout_seconds))
    version = ""
    if model_name:
        from chandlery.registry import champion

        version = champion(model_name)
    tell(
        "data.resolve",
        f"{repo}@{ref} is {pinned.commit}; champion of {model_name or '-'}: {version or 'none'}",
    )
    return pinned.commit, version


def validate_dataset(dataset: Any, recipe: str, minimum_rows: int, report: Any) -> int:
    """Check a dataset against its recipe's schema, write the report, stop the run when it does not fit.

    Args:
        dataset: artifact: the folder that `recipe.load` reads.
        recipe: recipe reference.
        minimum_rows: fewer rows are a failure.
        report: HTML artifact to write.

    Returns:
        number of rows.

    Raises:
        RecipeError: the recipe cannot be loaded, or its `load` raised.
        ValidationFailedError: the dataset does not fit; the report says what and where.
    """
    # They import numpy, which the steps above have no use for.
    from chandlery.data.quality import check
    from chandlery.data.quality_report import failed_report, quality_report
    from chandlery.recipe import guarded, load_recipe

    if minimum_rows < 1:
        raise UserError(f"minimum_rows is {minimum_rows}", "give 1 or more")
    started = time.monotonic()
    record = provenance.read(dataset.metadata)
    now = provenance.current()
    loaded = load_recipe(recipe)
    record = record.with_(
        run_id=now.run_id, task=now.task, recipe=loaded.reference, recipe_digest=loaded.digest
    )
    report.metadata.update(record.metadata())
    title = f"{loaded.class_name} on {record.data_repo or dataset.path}@{record.data_commit or '?'}"
    try:
        rows = guarded(loaded.recipe, "load", Path(dataset.path))
    except RecipeError as error:
        failed_report(title, error.message, record).write(report.path)
        raise
    quality = check(loaded.recipe, rows, minimum_rows)
    quality_report(title, loaded.recipe, rows, quality, record).write(report.path)
    if not quality.ok:
        more = f" (and {len(quality.findings) - 1} more failed checks)" if len(quality.findings) > 1 else ""
        raise ValidationFailedError(
            f"{title}: {quality.findings[0]}{more}", f"every failure with its rows is in {report.path}"
        )
    tell(
        "data.valid",
        f"{quality.rows} rows fit the schema ({time.monotonic() - started:.1f} s)",
        rows=quality.rows,
    )
    return quality.rows
