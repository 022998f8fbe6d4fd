"""Does a dataset fit its recipe's schema? Every failure, with column, row and value; checked with pandera.

The recipe's `Column` declarations become a pandera schema. An array column is checked element by element
(`pixels.0`, `pixels.1`, ...); a very wide one (an image) through one row each of its extremes and counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.data.profile import Profile
from chandlery.recipe import Column, Columns, Recipe

if TYPE_CHECKING:
    import pandas as pd

WIDE = 256  # elements per row from which an array column is summarised before it is checked
EXAMPLES = 5  # failing rows shown per finding

# Which kinds of numpy array (dtype.kind) fit a declared kind without a loss.
_FAMILIES = {"i": "n", "u": "n", "f": "n", "U": "t", "O": "t", "T": "t"}  # kinds that chunks may mix
_FITS = {"f": "fiu", "i": "iu", "u": "u", "b": "b", "U": "UOT"}


@dataclass(frozen=True)
class Finding:
    """One check that one column failed.

    Attributes:
        column: name of the column, with the element's index for arrays.
        check: what was demanded: `at most 16`.
        count: how many rows failed; 0 when the column as a whole did.
        examples: the first failing rows: index and value.
    """

    column: str
    check: str
    count: int
    examples: tuple[tuple[int, str], ...]

    def __str__(self) -> str:
        if not self.count:
            return f"{self.column}: {self.check} ({self.examples[0][1] if self.examples else 'it is not'})"
        row, value = self.examples[0]
        more = f" and {self.count - 1} more" if self.count > 1 else ""
        return f"{self.column}: {self.check}, but row {row} has {value}{more}"


@dataclass(frozen=True)
class Quality:
    """Findings.

    Attributes:
        rows: number of rows.
        findings: failed checks, columns in the schema's order.
    """

    rows: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Nothing failed."""
        return not self.findings


def check(recipe: Recipe, rows: Columns, minimum_rows: int = 1) -> Quality:
    """Check loaded rows against the schema.

    Args:
        recipe: the recipe; its `schema` decides.
        rows: what `recipe.load` returned.
        minimum_rows: fewer rows than this are a failure.

    Returns:
        every failure, not only the first.
    """
    validation = Validation(recipe)
    validation.add(rows)
    return validation.quality(minimum_rows)


class Validation:
    """Checks a dataset chunk by chunk, in one pass, and keeps no rows.

    Attributes:
        profiles: figures of each column that could be read, by name.
    """

    def __init__(self, recipe: Recipe) -> None:
        """Start with no rows."""
        self.profiles: dict[str, Profile] = {}
        self._recipe = recipe
        self._rows = 0
        self._found: dict[tuple[str, str], Finding] = {}
        self._kinds: dict[str, np.dtype[Any]] = {}

    def add(self, rows: Columns) -> None:
        """Check more rows."""
        schema = self._recipe.schema
        findings = [*_structure(schema, rows), *self._changed(rows)]
        bad = {finding.column for finding in findings}
        sound = [column for column in schema if column.name not in bad]
        length = max((len(rows[column.name]) for column in sound), default=0)
        if len({len(rows[column.name]) for column in sound}) == 1 and length:
            findings += _values(sound, rows)
        for finding in findings:
            self._merge(finding)
        self._rows += length
        for column in schema:
            array = rows.get(column.name) if isinstance(rows, dict) else None
            if isinstance(array, np.ndarray) and array.ndim > 0 and array.size > 0:
                self.profiles.setdefault(column.name, Profile()).add(array)

    def quality(self, minimum_rows: int = 1) -> Quality:
        """Return every failure so far, columns in the schema's order; too few rows are one."""
        order = [column.name for column in self._recipe.schema]
        # Columns as a whole first, then values, each in the schema's order, whichever chunk failed first.
        findings = sorted(self._found.values(), key=lambda f: (f.count > 0, _position(f.column, order)))
        if self._rows < minimum_rows:
            text = "no row" if not self._rows else f"{self._rows} rows"
            few = Finding("(dataset)", f"has at least {minimum_rows} rows", 0, ((0, text),))
            findings = [f for f in findings if not f.count] + [few] + [f for f in findings if f.count]
        return Quality(self._rows, tuple(findings))

    def _changed(self, rows: Columns) -> Iterator[Finding]:
        for column in self._recipe.schema:
            array = rows.get(column.name) if isinstance(rows, dict) else None
            if not isinstance(array, np.ndarray):
                continue
            first = self._kinds.setdefault(column.name, array.dtype)
            if _FAMILIES.get(first.kind, first.kind) != _FAMILIES.get(array.dtype.kind, array.dtype.kind):
                yield Finding(
                    column.name,
                    "has one type in all chunks",
                    0,
                    ((self._rows, f"{first}, then {array.dtype}"),),
                )

    def _merge(self, finding: Finding) -> None:
        moved = tuple((self._rows + row, value) for row, value in finding.examples)
        key = (finding.column, finding.check)
        known = self._found.get(key)
        if known is None:
            self._found[key] = replace(finding, examples=moved if finding.count else finding.examples)
        elif known.count:
            examples = (known.examples + moved)[:EXAMPLES]
            self._found[key] = replace(known, count=known.count + finding.count, examples=examples)


def _position(name: str, order: Sequence[str]) -> tuple[int, int]:
    if name in order:
        return order.index(name), 0
    # `pixels.3` and `pixels (smallest)` belong to `pixels`.
    known = [i for i, column in enumerate(order) if name.startswith((f"{column}.", f"{column} ("))]
    element = name.rpartition(".")[2]
    return (known[-1] if known else -1, int(element) if element.isdigit() else 0)


def _structure(schema: Sequence[Column], rows: Columns) -> Iterator[Finding]:
    if not isinstance(rows, dict):
        yield Finding("(dataset)", "load returns a dict of arrays", 0, ((0, type(rows).__name__),))
        rows = {}
    lengths = [len(array) for array in rows.values() if isinstance(array, np.ndarray) and array.ndim]
    usual = max(set(lengths), key=lengths.count) if lengths else 0
    for column in schema:
        array = rows.get(column.name)
        if array is None:
            yield Finding(column.name, "is present", 0, ((0, "no such column"),))
        elif not isinstance(array, np.ndarray):
            yield Finding(column.name, "is a numpy array", 0, ((0, type(array).__name__),))
        elif array.ndim == 0 or array.shape[1:] != column.shape:
            wanted = ("n", *column.shape)
            yield Finding(
                column.name, f"has shape ({', '.join(map(str, wanted))})", 0, ((0, str(array.shape)),)
            )
        elif len(array) != usual:
            yield Finding(column.name, f"has {usual} rows as the others", 0, ((0, f"{len(array)} rows"),))
        elif not _fits(column, array):
            yield Finding(column.name, f"is {column.dtype}", 0, ((0, _kind(array)),))


def _fits(column: Column, array: np.ndarray) -> bool:
    declared = np.dtype(column.dtype if column.dtype != "str" else "U").kind
    if "int" in column.dtype and column.nullable and array.dtype.kind == "f":
        return True  # whole numbers with gaps have no integer form in numpy
    if array.dtype.kind not in _FITS.get(declared, declared):
        return False
    if array.dtype.kind == "O":
        return all(isinstance(value, str) or _missing(value) for value in array.ravel())
    return True


def _kind(array: np.ndarray) -> str:
    if array.dtype.kind == "O":
        types = sorted({type(value).__name__ for value in array.ravel()})
        return f"a mix of {', '.join(types)}" if len(types) > 1 else f"{types[0]} objects"
    return "str" if array.dtype.kind in "UT" else str(array.dtype)


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _values(columns: Sequence[Column], rows: Columns) -> list[Finding]:
    import pandas as pd
    import pandera.pandas as pa

    series: dict[str, pd.Series[Any]] = {}
    checks: dict[str, pa.Column] = {}
    for column in columns:
        for name, values, declared in _expand(column, rows[column.name]):
            series[name] = values
            checks[name] = declared
    frame = pd.DataFrame(series)
    try:
        pa.DataFrameSchema(checks).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        return list(_findings(errors.failure_cases, list(checks)))
    return []


def _expand(column: Column, array: np.ndarray) -> Iterator[tuple[str, pd.Series[Any], Any]]:
    import pandas as pd
    import pandera.pandas as pa

    width = prod(column.shape)
    if not column.shape:
        yield column.name, _series(array), pa.Column(None, _checks(column), nullable=column.nullable)
        return
    flat = array.reshape(len(array), width)
    if width <= WIDE:
        for index in range(width):
            declared = pa.Column(None, _checks(column), nullable=column.nullable)
            yield f"{column.name}.{index}", _series(flat[:, index]), declared
        return
    # One number a row instead of thousands of columns: the same checks, at the price of the element's index.
    absent = pd.isna(flat)
    none = pa.Check.equal_to(0, error="has none")
    if not column.nullable:
        yield f"{column.name} (missing elements)", pd.Series(absent.sum(axis=1)), pa.Column(None, none)
    if column.allowed:
        outside = (~np.isin(flat, np.asarray(column.allowed)) & ~absent).sum(axis=1)
        yield f"{column.name} (elements not allowed)", pd.Series(outside), pa.Column(None, none)
    if flat.dtype.kind == "f":
        yield (
            f"{column.name} (infinite elements)",
            pd.Series(np.isinf(flat).sum(axis=1)),
            pa.Column(None, none),
        )
    if column.minimum is not None:
        lowest = np.where(absent, np.inf, flat).min(axis=1)
        yield f"{column.name} (smallest)", pd.Series(lowest), pa.Column(None, _low(column.minimum))
    if column.maximum is not None:
        highest = np.where(absent, -np.inf, flat).max(axis=1)
        yield f"{column.name} (largest)", pd.Series(highest), pa.Column(None, _high(column.maximum))


def _series(array: np.ndarray) -> pd.Series[Any]:
    import pandas as pd

    return pd.Series(array.astype(object) if array.dtype.kind in "UT" else array)


def _checks(column: Column) -> list[Any]:
    import pandera.pandas as pa

    checks = []
    if column.minimum is not None:
        checks.append(_low(column.minimum))
    if column.maximum is not None:
        checks.append(_high(column.maximum))
    if column.allowed:
        names = ", ".join(str(value) for value in column.allowed[:12])
        more = ", ..." if len(column.allowed) > 12 else ""
        checks.append(pa.Check.isin(list(column.allowed), error=f"is one of {names}{more}"))
    if column.dtype.startswith("float"):
        checks.append(pa.Check(lambda values: ~np.isinf(values), error="is finite"))
    if column.dtype.startswith("int"):
        checks.append(
            pa.Check(
                lambda values: (values == np.floor(values)) & ~np.isinf(values), error="is a whole number"
            )
        )
    return checks


def _low(limit: float) -> Any:
    import pandera.pandas as pa

    return pa.Check.ge(limit, error=f"at least {limit:g}")


def _high(limit: float) -> Any:
    import pandera.pandas as pa

    return pa.Check.le(limit, error=f"at most {limit:g}")


def _findings(cases: pd.DataFrame, order: list[str]) -> Iterator[Finding]:
    groups = {
        (str(key[0]), str(key[1])): group for key, group in cases.groupby(["column", "check"], sort=False)
    }
    for column, demanded in sorted(groups, key=lambda key: order.index(key[0])):
        group = groups[column, demanded]
        first = group.sort_values("index").head(EXAMPLES)
        examples = tuple(
            (int(row), _shown(value))
            for row, value in zip(first["index"], first["failure_case"], strict=True)
        )
        name = "is not missing" if demanded == "not_nullable" else demanded
        yield Finding(column, name, len(group), examples)


def _shown(value: object) -> str:
    return "nothing" if _missing(value) else f"{value:g}" if isinstance(value, float) else str(value)
