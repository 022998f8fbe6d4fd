"""The page that shows what is in a dataset and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chandlery.data.profile import Profile
from chandlery.data.quality import Quality
from chandlery.provenance import Provenance
from chandlery.recipe import Column, Recipe
from chandlery.report import BAD, PALETTE, Report, axes

FINDINGS_SHOWN = 100
PLOTS = 4
BARS = 20  # distinct values up to which each has a bar of its own


def failed_report(title: str, reason: str, record: Provenance) -> Report:
    """Return the page of a dataset that could not even be loaded."""
    return Report("Data validation", title).verdict(reason, "bad").provenance(record)


def quality_report(
    title: str, recipe: Recipe, profiles: Mapping[str, Profile], quality: Quality, record: Provenance
) -> Report:
    """Return the page: verdict, failures, a summary of every column, the balance of the targets, histograms.

    Args:
        title: which recipe on which data.
        recipe: the recipe.
        profiles: figures of each column that could be read, by name.
        quality: what was found.
        record: where the data comes from.
    """
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
    known = [(column, profiles[column.name]) for column in recipe.schema if column.name in profiles]
    if known:
        page.table(
            "Columns",
            ("column", "type", "shape of a row", "missing", "minimum", "mean", "maximum", "distinct"),
            (_summary(column, profile) for column, profile in known),
        )
    if recipe.classifies():
        for target in recipe.targets():
            balance = list(_balance(recipe, target, profiles.get(target)))
            if balance:
                page.table("Balance of the target", (target, "rows", "share"), balance)
    _plots(page, recipe, known)
    return page.provenance(record)


def _summary(column: Column, profile: Profile) -> tuple[object, ...]:
    shape = "x".join(str(size) for size in profile.shape) or "scalar"
    figures = (profile.least, profile.mean, profile.greatest)
    shown = tuple("" if figure is None else figure for figure in figures)
    return column.name, profile.dtype, shape, profile.missing, *shown, profile.distinct


def _balance(recipe: Recipe, target: str, profile: Profile | None) -> Iterator[tuple[str, int, str]]:
    if profile is None or profile.shape or profile.counts is None:
        return
    column = next(column for column in recipe.schema if column.name == target)
    counts: dict[str, int] = {}
    for value, rows in profile.counts.items():
        counts[str(value)] = counts.get(str(value), 0) + rows
    # Classes that the schema allows and no row has are worth seeing.
    for name in dict.fromkeys([str(value) for value in column.allowed] + sorted(counts)):
        yield name, counts.get(name, 0), f"{counts.get(name, 0) / profile.rows:.1%}"


def _plots(page: Report, recipe: Recipe, known: list[tuple[Column, Profile]]) -> None:
    numeric = [(column, profile) for column, profile in known if profile.numeric and profile.numbers]
    # The targets first; then the columns in the schema's order.
    numeric.sort(key=lambda pair: pair[0].name not in recipe.targets())
    if not numeric:
        return
    figure, grid = axes(height=2.6, columns=min(PLOTS, len(numeric)))
    for ax, (column, profile) in zip(grid, numeric, strict=False):
        values = sorted(profile.counts) if profile.counts is not None else []
        bars = profile.counts is not None and len(values) <= BARS
        if profile.counts is not None and bars:
            places = range(len(values))
            ax.bar(places, [profile.counts[value] for value in values], color=PALETTE[0])
            ax.set_xticks(places, [f"{value:g}" for value in values], fontsize="small")
        else:
            ax.hist(profile.sample, bins=30, color=PALETTE[0])
        for limit in (column.minimum, column.maximum):
            if limit is not None and not bars:
                ax.axvline(limit, color=BAD, linewidth=1, linestyle="--")
        ax.set_title(column.name)
    grid[0].set_ylabel("values")
    dashed = any(len(ax.lines) for ax in grid)
    page.figure("Distributions", figure, "Dashed: the limits of the schema." if dashed else "")
