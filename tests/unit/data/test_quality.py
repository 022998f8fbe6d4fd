"""Quality: every failure is found, with column, row and value; whatever a recipe returns, the check answers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery import provenance
from chandlery.data.profile import SAMPLE, Profile
from chandlery.data.quality import WIDE, Finding, Quality, Validation, check
from chandlery.data.quality_report import quality_report
from chandlery.recipe import Column, Columns, Recipe, Value


class Flights(Recipe):
    """A schema with every kind of column."""

    task = "classification"
    objective = "accuracy"
    target = "late"
    schema = (
        Column("seats", "int64", minimum=1, maximum=500),
        Column("wind", "float32", minimum=0, nullable=True),
        Column("load", "float64", minimum=0, maximum=1),
        Column("route", "str", allowed=("LEJ-FRA", "LEJ-MUC")),
        Column("profile", "float32", (3,), minimum=-1, maximum=1),
        Column("rest", "bool"),
        Column("delay", "int64", nullable=True),
        Column("late", "int64", allowed=(0, 1)),
    )

    def load(self, root: Path) -> Columns:
        return good()

    def featurize(self, rows: Columns) -> np.ndarray:
        return rows["profile"]

    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> Any:
        raise NotImplementedError

    def metrics(self, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        return {}

    def answer(self, outputs: np.ndarray) -> Columns:
        return {}

    def wrong(self, prediction: Value, truth: Value) -> bool:
        return prediction != truth


def good() -> Columns:
    return {
        "seats": np.array([100, 150, 180, 200]),
        "wind": np.array([3.5, np.nan, 0, 12], "float32"),
        "load": np.array([0.5, 1.0, 0.0, 0.75]),
        "route": np.array(["LEJ-FRA", "LEJ-MUC", "LEJ-FRA", "LEJ-FRA"]),
        "profile": np.zeros((4, 3), "float32"),
        "rest": np.array([True, False, True, True]),
        "delay": np.array([1.0, np.nan, 0.0, 7.0]),
        "late": np.array([0, 1, 0, 0]),
    }


def with_(**changes: Any) -> Columns:
    return good() | changes


def test_good_rows_pass() -> None:
    assert check(Flights(), good()) == Quality(4, ())


@pytest.mark.parametrize(
    "changes",
    [
        {"load": np.array([0, 1, 0, 1])},
        {"seats": np.array([1, 2, 3, 4], "int16")},
        {"route": np.array(["LEJ-FRA"] * 4, dtype=object)},
        {"delay": np.array([1, 2, 3, 4])},
        {"unknown": np.zeros(4)},
    ],
    ids=["whole numbers as floats", "narrow integers", "text as objects", "no gaps", "a further column"],
)
def test_what_converts_without_loss_passes(changes: Columns) -> None:
    assert check(Flights(), with_(**changes)).ok


PROFILE = np.zeros((4, 3), "float32")
PROFILE[2, 1] = 1.5


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"seats": np.array([0, 150, -2, 3])}, Finding("seats", "at least 1", 2, ((0, "0"), (2, "-2")))),
        ({"seats": np.array([1, 2, 3, 501])}, Finding("seats", "at most 500", 1, ((3, "501"),))),
        ({"load": np.array([0.5, np.nan, 0, 0])}, Finding("load", "is not missing", 1, ((1, "nothing"),))),
        ({"wind": np.array([1, 2, np.inf, 3])}, Finding("wind", "is finite", 1, ((2, "inf"),))),
        ({"late": np.array([0, 1, 2, 0])}, Finding("late", "is one of 0, 1", 1, ((2, "2"),))),
        (
            {"route": np.array(["LEJ-FRA", "", "x", "LEJ-FRA"])},
            Finding("route", "is one of LEJ-FRA, LEJ-MUC", 2, ((1, ""), (2, "x"))),
        ),
        ({"profile": PROFILE}, Finding("profile.1", "at most 1", 1, ((2, "1.5"),))),
        ({"delay": np.array([1.5, np.nan, 0, 1])}, Finding("delay", "is a whole number", 1, ((0, "1.5"),))),
        ({"seats": np.array([1.0, 2, 3, 4])}, Finding("seats", "is int64", 0, ((0, "float64"),))),
        ({"load": np.array(list("abcd"))}, Finding("load", "is float64", 0, ((0, "str"),))),
        ({"rest": np.array([1, 0, 1, 1])}, Finding("rest", "is bool", 0, ((0, "int64"),))),
        ({"route": np.array([1, 2, 3, 4])}, Finding("route", "is str", 0, ((0, "int64"),))),
        (
            {"route": np.array(["a", 1, 2.5, "b"], dtype=object)},
            Finding("route", "is str", 0, ((0, "a mix of float, int, str"),)),
        ),
        ({"profile": np.zeros((4, 2))}, Finding("profile", "has shape (n, 3)", 0, ((0, "(4, 2)"),))),
        ({"late": np.array([0, 1])}, Finding("late", "has 4 rows as the others", 0, ((0, "2 rows"),))),
        ({"seats": [1, 2, 3, 4]}, Finding("seats", "is a numpy array", 0, ((0, "list"),))),
    ],
    ids=lambda value: str(value)[:50],
)
def test_each_failure_is_told_with_its_place(changes: Columns, finding: Finding) -> None:
    quality = check(Flights(), with_(**changes))
    assert quality.findings == (finding,)
    assert finding.column in str(finding)
    assert finding.examples[0][1] in str(finding)


def test_a_missing_column_is_told() -> None:
    rows = good()
    del rows["wind"]
    assert [str(finding) for finding in check(Flights(), rows).findings] == [
        "wind: is present (no such column)"
    ]


def test_all_failures_are_told_in_the_schemas_order() -> None:
    bad = with_(seats=np.array([0, 900, 1, 1]), late=np.array([0, 7, 0, 0]), load=np.array([2.0, -1, 0, 0]))
    found = [(finding.column, finding.check) for finding in check(Flights(), bad).findings]
    assert [column for column, _ in found] == ["seats", "seats", "load", "load", "late"]
    assert len(found) == 5


@pytest.mark.parametrize(
    ("rows", "demanded"),
    [
        ({name: array[:0] for name, array in good().items()}, "has at least 1 rows"),
        ({}, "is present"),
        (None, "load returns a dict of arrays"),
    ],
    ids=["no rows", "no columns", "nothing"],
)
def test_an_empty_dataset_fails(rows: Any, demanded: str) -> None:
    quality = check(Flights(), rows)
    assert quality.rows == 0
    assert demanded in [finding.check for finding in quality.findings]


def test_too_few_rows_fail() -> None:
    (finding,) = check(Flights(), good(), minimum_rows=10).findings
    assert str(finding) == "(dataset): has at least 10 rows (4 rows)"


class Images(Flights):
    """A column that is too wide for one pandera column per element."""

    schema = (
        Column("image", "float32", (WIDE, 2), minimum=0, maximum=1),
        Column("mask", "int64", (WIDE, 2), allowed=(0, 1)),
        Column("late", "int64"),
    )


def images(**changes: tuple[tuple[int, ...], float]) -> Columns:
    rows = {
        "image": np.full((3, WIDE, 2), 0.5, "float32"),
        "mask": np.ones((3, WIDE, 2), "int64"),
        "late": np.zeros(3, "int64"),
    }
    for name, (place, value) in changes.items():
        rows[name][place] = value
    return rows


@pytest.mark.parametrize(
    ("changes", "column", "demanded", "example"),
    [
        ({"image": ((1, 7, 1), 1.25)}, "image (largest)", "at most 1", (1, "1.25")),
        ({"image": ((2, 0, 0), -0.5)}, "image (smallest)", "at least 0", (2, "-0.5")),
        ({"image": ((0, 0, 0), np.nan)}, "image (missing elements)", "has none", (0, "1")),
        ({"mask": ((2, 9, 0), 4)}, "mask (elements not allowed)", "has none", (2, "1")),
    ],
)
def test_wide_columns_are_checked_too(
    changes: dict[str, Any], column: str, demanded: str, example: tuple[int, str]
) -> None:
    assert check(Images(), images()).ok
    assert check(Images(), images(**changes)).findings == (Finding(column, demanded, 1, (example,)),)


def test_the_report_shows_failures_summary_balance_and_escapes(tmp_path: Path) -> None:
    rows = with_(seats=np.array([0, 1, 2, 3]), route=np.array(["<b>", "LEJ-FRA", "LEJ-FRA", "LEJ-FRA"]))
    record = provenance.Provenance(data_repo="flights", data_commit="c0ffee")
    validation = Validation(Flights())
    validation.add(rows)
    page = quality_report("Flights", Flights(), validation.profiles, validation.quality(), record).html()
    assert "2 checks failed on 4 rows" in page
    assert "0: 0" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "Balance of the target" in page
    assert "75.0%" in page
    assert "<svg" in page
    assert "c0ffee" in page


@pytest.mark.parametrize("rows", [None, {}, {"seats": np.array([])}, with_(late=np.array(list("abcd")))])
def test_the_report_can_be_made_of_anything(rows: Any) -> None:
    validation = Validation(Flights())
    validation.add(rows)
    record = provenance.Provenance()
    page = quality_report("x", Flights(), validation.profiles, validation.quality(), record).html()
    assert "What failed and where" in page


VALUES = st.one_of(st.integers(-2, 12), st.just(np.nan), st.just(np.inf))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(VALUES, st.sampled_from(["LEJ-FRA", "HAM-MUC", "x"])), min_size=1, max_size=40),
    st.data(),
)
def test_findings_and_figures_do_not_depend_on_the_chunks(
    values: list[tuple[float, str]], data: st.DataObject
) -> None:
    class Plain(Flights):
        schema = (
            Column("delay", minimum=0, maximum=10),
            Column("route", "str", allowed=("LEJ-FRA", "HAM-MUC")),
        )
        target = "route"

    rows = {"delay": np.array([v[0] for v in values], float), "route": np.array([v[1] for v in values])}
    cuts = sorted(data.draw(st.sets(st.integers(1, len(values)), max_size=5)))
    whole, cut = Validation(Plain()), Validation(Plain())
    whole.add(rows)
    for start, end in pairwise([0, *cuts, len(values)]):
        cut.add({name: column[start:end] for name, column in rows.items()})
    one, other = whole.quality(), cut.quality()
    assert one.rows == other.rows

    def findings(quality: Quality) -> dict[tuple[str, str], tuple[int, tuple[tuple[int, str], ...]]]:
        return {
            (f.column, f.check): (f.count, f.examples) for f in quality.findings if f.column != "(dataset)"
        }

    assert findings(one) == findings(other)
    for name in rows:
        a, b = whole.profiles[name], cut.profiles[name]
        assert (a.missing, a.least, a.greatest, a.distinct, a.counts) == (
            b.missing,
            b.least,
            b.greatest,
            b.distinct,
            b.counts,
        )
        assert a.sample.tolist() == b.sample.tolist()
        assert a.mean == pytest.approx(b.mean)


def test_a_sample_of_a_large_column_does_not_depend_on_the_chunks() -> None:
    values = np.random.default_rng(0).normal(size=90_000)
    whole, cut = Profile(), Profile()
    whole.add(values)
    for part in np.array_split(values, 13):
        cut.add(part)
    assert len(whole.sample) <= SAMPLE
    assert whole.sample.tolist() == cut.sample.tolist()
    assert whole.counts is cut.counts is None
    assert whole.distinct == "90000"


@pytest.mark.parametrize(
    ("chunks", "finding"),
    [
        ([], "(dataset): has at least 1 rows (no row)"),
        ([[1]], "(dataset): load returns a dict of arrays (list)"),
        ([with_(), with_(late=np.array(list("abcd")))], "late: is"),
        ([with_(), {}], "route: is present (no such column)"),
    ],
)
def test_chunks_of_another_form_are_findings(chunks: list[Any], finding: str) -> None:
    validation = Validation(Flights())
    for chunk in chunks:
        validation.add(chunk)
    assert any(str(f).startswith(finding) for f in validation.quality().findings)


def test_rows_of_a_later_chunk_are_told_by_their_place_in_the_dataset() -> None:
    validation = Validation(Flights())
    validation.add(with_())
    validation.add(with_(seats=np.array([1, 2, 0, 3])))
    (finding,) = validation.quality().findings
    assert finding.examples == ((6, "0"),)


def test_infinity_is_no_whole_number() -> None:
    (finding,) = check(Flights(), with_(delay=np.array([1.0, np.inf, np.nan, 7.0]))).findings
    assert (finding.column, finding.check, finding.count) == ("delay", "is a whole number", 1)
