"""Quality: every failure is found, with column, row and value; whatever a recipe returns, the check answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chandlery import provenance
from chandlery.data.quality import WIDE, Finding, Quality, check
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
    quality = check(Flights(), rows)
    page = quality_report("Flights", Flights(), rows, quality, record).html()
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
    page = quality_report("x", Flights(), rows, check(Flights(), rows), provenance.Provenance()).html()
    assert "What failed and where" in page
