"""The page that shows what is in a dataset and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chandlery.data.quality import Quality
from chandlery.provenance import Provenance
from chandlery.recipe import Column, Columns, Recipe
from chandlery.report import BAD, PALETTE, Report, axes

FINDINGS_SHOWN = 100
PLOTS = 4
BARS = 20  # distinct values up to which each has a bar of its own


def failed_report(title: str, reason: str, record: Provenance) -> Report:
    """Return the page of a dataset that could not even be loaded."""
    return Report("Data validation", title).verdict(reason, "bad").provenance(record)


def quality_report(title: str, recipe: Recipe, rows: Columns, quality: Quality, record: Provenance) -> Report:
    """Return the page: verdict, failures, a summary of every column, the balance of the target, histograms."""
    page = Report("Data validation", title)
    findings = quality.findings
    if quality.ok:
        page.verdict(f"{quality.rows} rows fit the schema of {type(recipe).__name__}.", "good")
    else:
        page.verdict(f"{len(findings)} checks failed on {quality.rows} rows. First: {findings[0]}.", "bad")
        page.table(
            "What failed and where",
            ("column", "demanded", "rows that fail", "first of them (row: value)"),
            (
                (
                    f.column,
                    f.check,
                    f.count or "all",
                    ", ".join(f"{row}: {value}" for row, value in f.examples),
                )
                for f in findings[:FINDINGS_SHOWN]
            ),
        )
        if len(findings) > FINDINGS_SHOWN:
            page.text("", f"... and {len(findings) - FINDINGS_SHOWN} more failed checks.")
    known = [(column, rows[column.name]) for column in recipe.schema if _usable(rows, column)]
    if known:
        page.table(
            "Columns",
            ("column", "type", "shape of a row", "missing", "minimum", "mean", "maximum", "distinct"),
            (_summary(column, array) for column, array in known),
        )
    balance = list(_balance(recipe, rows))
    if balance:
        page.table("Balance of the target", (recipe.target, "rows", "share"), balance)
    _plots(page, recipe, known)
    return page.provenance(record)


def _usable(rows: Columns, column: Column) -> bool:
    array = rows.get(column.name) if isinstance(rows, dict) else None
    return isinstance(array, np.ndarray) and array.ndim > 0 and array.size > 0


def _summary(column: Column, array: np.ndarray) -> tuple[object, ...]:
    missing, numbers = _numbers(array)
    shape = "x".join(str(size) for size in array.shape[1:]) or "scalar"
    if numbers is None:
        return column.name, "str", shape, missing, "", "", "", len(set(array.ravel().tolist()))
    if not numbers.size:
        return column.name, str(array.dtype), shape, missing, "", "", "", 0
    low, mean, high = float(numbers.min()), float(numbers.mean(dtype="float64")), float(numbers.max())
    return column.name, str(array.dtype), shape, missing, low, mean, high, len(np.unique(numbers))


def _numbers(array: np.ndarray) -> tuple[int, np.ndarray | None]:
    if array.dtype.kind not in "fiub":
        import pandas as pd

        return int(pd.isna(array.ravel()).sum()), None
    finite = array[np.isfinite(array)]
    return int(np.isnan(array).sum()) if array.dtype.kind == "f" else 0, finite


def _balance(recipe: Recipe, rows: Columns) -> Iterator[tuple[str, int, str]]:
    target = next(column for column in recipe.schema if column.name == recipe.target)
    if recipe.task != "classification" or not _usable(rows, target) or rows[target.name].ndim != 1:
        return
    values = [str(value) for value in rows[target.name].tolist()]
    # Classes that the schema allows and no row has are worth seeing.
    names = dict.fromkeys([str(value) for value in target.allowed] + sorted(set(values)))
    for name in names:
        count = values.count(name)
        yield name, count, f"{count / len(values):.1%}"


def _plots(page: Report, recipe: Recipe, known: list[tuple[Column, np.ndarray]]) -> None:
    numeric = [(column, numbers) for column, array in known if (numbers := _numbers(array)[1]) is not None]
    numeric = [(column, numbers) for column, numbers in numeric if numbers.size]
    # The target first; then the columns in the schema's order.
    numeric.sort(key=lambda pair: pair[0].name != recipe.target)
    if not numeric:
        return
    figure, grid = axes(height=2.6, columns=min(PLOTS, len(numeric)))
    for ax, (column, numbers) in zip(grid, numeric, strict=False):
        values, counts = np.unique(numbers, return_counts=True)
        if len(values) <= BARS:
            places = range(len(values))
            ax.bar(places, counts, color=PALETTE[0])
            ax.set_xticks(places, [f"{value:g}" for value in values], fontsize="small")
        else:
            ax.hist(numbers, bins=30, color=PALETTE[0])
        for limit in (column.minimum, column.maximum):
            if limit is not None and len(values) > BARS:
                ax.axvline(limit, color=BAD, linewidth=1, linestyle="--")
        ax.set_title(column.name)
    grid[0].set_ylabel("values")
    dashed = any(len(ax.lines) for ax in grid)
    page.figure("Distributions", figure, "Dashed: the limits of the schema." if dashed else "")
