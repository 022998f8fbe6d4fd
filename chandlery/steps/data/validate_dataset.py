"""The body of `validate_dataset`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chandlery import provenance
from chandlery.errors import RecipeError, UserError, ValidationFailedError
from chandlery.progress import report as report_progress


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
        RecipeError: the recipe cannot be loaded, its `load` raised, or it breaks its contract on the first rows.
        ValidationFailedError: the dataset does not fit; the report lists every failure.
    """
    from chandlery.data.quality import Validation
    from chandlery.data.quality_report import failed_report, quality_report
    from chandlery.recipe import check_rows, guarded, load_recipe
    from chandlery.training.contract import require

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
    validation = Validation(loaded.recipe)
    few: Any = None
    try:
        rows = guarded(loaded.recipe, "load", Path(dataset.path))
        for chunk in _chunks(loaded.recipe, rows):
            validation.add(chunk)
            few = chunk if few is None else few
    except RecipeError as error:
        failed_report(title, error.message, record).write(report.path)
        raise
    quality = validation.quality(minimum_rows)
    quality_report(title, loaded.recipe, validation.profiles, quality, record).write(report.path)
    if not quality.ok:
        more = f" (and {len(quality.findings) - 1} more failed checks)" if len(quality.findings) > 1 else ""
        raise ValidationFailedError(
            f"{title}: {quality.findings[0]}{more}", f"every failure with its rows is in {report.path}"
        )
    # What the schema cannot say: do the recipe's methods work on such rows?
    require(loaded.recipe, check_rows(loaded.recipe.schema, few), with_model=False)
    report_progress(
        "data.valid",
        f"{quality.rows} rows fit the schema ({time.monotonic() - started:.1f} s)",
        rows=quality.rows,
    )
    return quality.rows


def _chunks(recipe: Any, loaded: Any) -> Iterator[Any]:
    """Yield what `load` returned, or what it yields; whatever it raises becomes a RecipeError."""
    from chandlery.training.dataset import yielded

    if isinstance(loaded, Iterator):
        yield from yielded(loaded, f"{type(recipe).__name__}.load")
    else:
        yield loaded
