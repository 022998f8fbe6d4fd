"""The example of a model package: a real row, the same after writing and reading, and readable as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chandlery.example import EXAMPLE, example_row, example_text, read_example, readable, write_example
from chandlery.recipe import Column, Columns, check_rows

COLUMNS = (
    Column("day", "str"),
    Column("wind", "float32", nullable=True),
    Column("seats", "int64"),
    Column("open", "bool"),
    Column("grid", "float64", (2, 2)),
)
ROWS: Columns = {
    "day": np.array(["2026-01-02", "2026-01-03", "2026-01-04"]),
    "wind": np.array([np.nan, 3.25, 4.5], dtype="float32"),
    "seats": np.array([2**60 + 1, 2**60 + 3, 5]),
    "open": np.array([True, False, True]),
    "grid": np.arange(12.0).reshape(3, 2, 2),
    "target": np.array([1, 2, 3]),
}


def test_the_first_whole_row_is_the_example() -> None:
    row = example_row(COLUMNS, ROWS)
    assert list(row) == [column.name for column in COLUMNS], "the target is no part of a request"
    assert row["day"].tolist() == ["2026-01-03"]
    assert row["grid"].shape == (1, 2, 2)


def test_without_a_whole_row_it_is_the_first() -> None:
    rows = {**ROWS, "wind": np.full(3, np.nan, dtype="float32")}
    assert example_row(COLUMNS, rows)["day"].tolist() == ["2026-01-02"]
    assert example_row(COLUMNS, {name: column[:0] for name, column in ROWS.items()}) == {}


@pytest.mark.parametrize("index", [0, 1])
def test_what_is_written_is_read_again_and_fits_the_schema(tmp_path: Path, index: int) -> None:
    row = {column.name: ROWS[column.name][index : index + 1] for column in COLUMNS}
    write_example(tmp_path, row)
    again = read_example(tmp_path, COLUMNS)
    for name, array in row.items():
        assert again[name].dtype.kind == array.dtype.kind
        np.testing.assert_array_equal(again[name], array)
    assert check_rows(COLUMNS, again)


def test_a_missing_whole_number_is_part_of_the_example(tmp_path: Path) -> None:
    columns = (Column("crew", "int64", nullable=True), Column("port", "str"))
    write_example(tmp_path, {"crew": np.array([np.nan]), "port": np.array(["Oslo"])})
    again = read_example(tmp_path, columns)
    assert again["port"].tolist() == ["Oslo"], "the real row, and no row of the schema"
    assert np.isnan(again["crew"]).all()
    assert check_rows(columns, again)["crew"].dtype == again["crew"].dtype


@pytest.mark.parametrize("damage", ["", "{", '{"day": ["x"]}', '{"day": 1, "wind": [[]]}'])
def test_a_package_without_a_usable_example_gets_a_row_of_the_schema(tmp_path: Path, damage: str) -> None:
    if damage:
        (tmp_path / EXAMPLE).write_text(damage)
    row = read_example(tmp_path, (*COLUMNS, Column("kind", "str", allowed=("a", "b"))))
    assert row["kind"].tolist() == ["a"]
    assert check_rows(COLUMNS, {name: array for name, array in row.items() if name != "kind"})


def test_a_long_example_is_not_for_a_page_or_metadata(tmp_path: Path) -> None:
    write_example(tmp_path, {"pixels": np.zeros((1, 1000))})
    assert example_text(tmp_path) == ""
    write_example(tmp_path, {"pixels": np.zeros((1, 3))})
    assert json.loads(example_text(tmp_path)) == {"pixels": [[0, 0, 0]]}
    assert example_text(tmp_path / "none") == ""


def test_hidden_characters_are_escaped_and_come_back() -> None:
    text = "\x00\x1b\x7f\x85\u202e\ufeff\U000e0001 é 東 \ud800"
    shown = readable([text])
    assert shown.isprintable()
    assert "é 東" in shown
    assert json.loads(shown) == [text]
