"""CSV and Parquet files become the columns of a schema, or are refused by file, row and value."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery.arrays import concatenate, count
from chandlery.errors import RecipeError
from chandlery.recipe import Column, Columns, check_rows
from chandlery.tables import Csv, read_tables

TEXT, FLOAT, WHOLE, FLAG = Column("t", "str"), Column("f"), Column("i", "int64"), Column("b", "bool")
ALL = (TEXT, FLOAT, WHOLE, FLAG)


def read(
    root: Path, columns: tuple[Column, ...], pattern: str = "*", csv: Csv | None = None, rows: int = 65_536
) -> Columns:
    whole: Columns = concatenate(list(read_tables(root, pattern, columns, csv, rows)))
    return whole


def test_semicolons_bom_and_decimal_commas(tmp_path: Path) -> None:
    content = 't;f;other;i;b\n"a;b";1.234,5;x;7;true\n;-,5;y;-3;NO\n"two\nlines"; 2 ;;+1;1\n'
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + content.encode())
    with gzip.open(tmp_path / "b.csv.gz", "wt") as file:
        file.write("b;i;f;t\nfalse;9007199254740993;1e3;ü\n")
    rows = read(tmp_path, ALL, csv=Csv(delimiter=";", decimal=",", thousands="."))
    assert rows["t"].tolist() == ["a;b", "", "two\nlines", "ü"]
    assert rows["f"].tolist() == [1234.5, -0.5, 2.0, 1000.0]
    assert rows["i"].tolist() == [7, -3, 1, 9007199254740993]
    assert rows["b"].tolist() == [True, False, True, False]
    assert {name: array.dtype.kind for name, array in rows.items()} == {
        "t": "U",
        "f": "f",
        "i": "i",
        "b": "b",
    }
    check_rows(ALL, rows)


def test_missing_numbers_are_nan_where_the_column_allows_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("f,i,t\n1,NA,x\n,2,\n")
    columns = (Column("f", "float32", nullable=True), Column("i", "int64", nullable=True), TEXT)
    rows = read(tmp_path, columns)
    assert np.array_equal(rows["f"], np.array([1, np.nan], "float32"), equal_nan=True)
    assert np.array_equal(rows["i"], [np.nan, 2.0], equal_nan=True)
    assert rows["t"].tolist() == ["x", ""]


def test_array_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x.1,x.0,x.2,x.3\n2,1,3,4\n6,5,7,8\n")
    square = Column("x", "float32", (2, 2))
    assert read(tmp_path, (square,), "*.csv")["x"].tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    values = pa.array(np.arange(12, dtype="float32"))
    lists = [
        pa.FixedSizeListArray.from_arrays(values, 4),
        pa.array(np.arange(12.0).reshape(3, 4).tolist()),
        pa.array(np.arange(12.0).reshape(3, 2, 2).tolist()),
    ]
    for number, array in enumerate(lists):
        pq.write_table(pa.table({"x": array}), tmp_path / f"{number}.parquet")
        found = read(tmp_path, (square,), f"{number}.parquet", rows=2)["x"]
        assert found.dtype == np.float32
        assert np.array_equal(found, np.arange(12).reshape(3, 2, 2))


def test_parquet_types(tmp_path: Path) -> None:
    noon = datetime(2026, 3, 1, 12, 0, 5)
    table = pa.table(
        {
            "t": pa.array(["a", "", "b"]).dictionary_encode(),
            "f": pa.array([1, 2, 3], pa.int32()),
            "i": pa.array([1.0, 2.0, -3.0]),
            "b": [True, False, True],
            "day": [date(2026, 1, 2)] * 3,
            "naive": [noon, noon, None],
            # In UTC: what pyarrow makes of an offset depends on whether pandera was imported.
            "zoned": pa.array([noon - timedelta(hours=2)] * 3, pa.timestamp("us", "Europe/Berlin")),
            "decimal": pa.array([1, 2, 3], pa.int64()).cast(pa.decimal128(30, 2)),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    columns = (
        *ALL,
        *(Column(name, "str", nullable=True) for name in ("day", "naive", "zoned")),
        Column("decimal", "float32"),
    )
    rows = read(tmp_path, columns, "**/*.parquet", rows=2)
    assert rows["t"].tolist() == ["a", "", "b"]
    assert rows["f"].tolist() == rows["decimal"].tolist() == [1, 2, 3]
    assert rows["i"].tolist() == [1, 2, -3]
    assert rows["day"].tolist() == ["2026-01-02"] * 3
    assert rows["naive"].tolist() == ["2026-03-01T12:00:05", "2026-03-01T12:00:05", ""]
    assert rows["zoned"].tolist() == ["2026-03-01T10:00:05+00:00"] * 3
    assert datetime.fromisoformat(rows["zoned"][0]) == datetime(2026, 3, 1, 10, 0, 5, tzinfo=UTC)
    check_rows(columns, rows)


def test_texts_of_csv_are_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,f\nNA,NA\nnull,1\n ,2\n")
    rows = read(tmp_path, (TEXT, FLOAT))
    assert rows["t"].tolist() == ["NA", "null", " "]
    assert np.array_equal(rows["f"], [np.nan, 1, 2], equal_nan=True)


def test_upper_case_names(tmp_path: Path) -> None:
    (tmp_path / "A.TSV.GZ").write_bytes(gzip.compress(b"f\tt\n1\ta\n"))
    assert read(tmp_path, (FLOAT, TEXT))["t"].tolist() == ["a"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_one_long_text_does_not_give_its_room_to_all(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chandlery.tables.TEXT_BYTES", 2**21)
    monkeypatch.setattr("chandlery.tables.CHUNK_BYTES", 2**21)
    texts = ["a"] * 3000 + ["x" * 50_000] + ["b"] * 3000
    if kind == "csv":
        (tmp_path / "a.csv").write_text("t\n" + "\n".join(texts) + "\n")
    else:
        pq.write_table(pa.table({"t": texts}), tmp_path / "a.parquet")
    chunks = list(read_tables(tmp_path, "*", (TEXT,)))
    assert [text for chunk in chunks for text in chunk["t"].tolist()] == texts
    assert max(chunk["t"].nbytes for chunk in chunks) <= 2**21


def csv(content: str | bytes) -> Callable[[Path], None]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / "a.csv").write_bytes(data) and None  # type: ignore[func-returns-value]


def parquet(**columns: Any) -> Callable[[Path], None]:
    return lambda folder: pq.write_table(pa.table(columns), folder / "a.parquet")


def truncated(folder: Path) -> None:
    parquet(f=np.arange(1000.0))(folder)
    (folder / "a.parquet").write_bytes((folder / "a.parquet").read_bytes()[:-200])


def cut_gzip(folder: Path) -> None:
    (folder / "a.csv.gz").write_bytes(gzip.compress(b"f\n" + b"1.5\n" * 100_000)[:-50])


@pytest.mark.parametrize(
    ("write", "column", "words"),
    [
        (lambda folder: None, FLOAT, "no file below"),
        (lambda folder: (folder / "a.txt").write_text("f"), FLOAT, "neither CSV nor Parquet"),
        (csv("g\n1\n"), FLOAT, "a.csv has no column 'f'"),
        (csv(""), FLOAT, "a.csv has no column 'f'"),
        (csv("f,f\n1,2\n"), FLOAT, "two columns are called 'f'"),
        (csv("f,g\n1,2\n3\n"), FLOAT, "a.csv cannot be read: CSV parse error: Row #3"),
        (csv("f\n1\nabc\n"), FLOAT, "a.csv, row 2: 'f' is 'abc'"),
        (csv("f\n1\n1,5\n"), FLOAT, "a.csv"),
        (csv("f\ninf\n"), FLOAT, "row 1: 'f' is 'inf'"),
        (csv("f\n0x10\n"), FLOAT, "row 1: 'f' is '0x10'"),
        (csv("i\n2\nNA\n"), WHOLE, "row 2: 'i' is missing"),
        (csv("f\n9007199254740993\n"), FLOAT, "beyond 2^53"),
        (csv("i\n1\n1.5\n"), WHOLE, "row 2: 'i' is '1.5'"),
        (csv("i\n9223372036854775808\n"), WHOLE, "beyond 64 bits"),
        (csv("b\ntrue\nmaybe\n"), FLAG, "row 2: 'b' is 'maybe'"),
        (csv("t\na\nb\0c\n"), TEXT, "row 2: 't' has a NUL character"),
        (csv("t\nä\n".encode("latin-1")), TEXT, "cannot be read"),
        (parquet(g=[1.0]), FLOAT, "a.parquet has no column 'f'"),
        (parquet(f=["1.0"]), FLOAT, "'f' is string, the schema declares float64"),
        (parquet(t=[1]), TEXT, "'t' is int64, the schema declares str"),
        (parquet(f=[{"a": 1}]), FLOAT, "'f' is struct"),
        (parquet(f=[[1.0]]), FLOAT, "declares one float64 a row"),
        (parquet(i=[1, None]), WHOLE, "row 2: 'i' is missing"),
        (parquet(t=["a", None]), TEXT, "row 2: 't' is missing"),
        (parquet(f=[1, 2**53 + 1]), FLOAT, "row 2: 'f' has a whole number beyond 2^53"),
        (parquet(i=[1.0, 1.5]), WHOLE, "row 2: 'i' is 1.5, which is not a whole number"),
        (parquet(i=pa.array([2**63], pa.uint64())), WHOLE, "beyond 64 bits"),
        (parquet(i=[float("nan")]), WHOLE, "row 1: 'i' is nan"),
        (parquet(x=[[1.0, 2.0], [1.0]]), Column("x", shape=(2,)), "row 2: 'x' has another number of elements"),
        (parquet(x=[[1.0, 2.0], None]), Column("x", shape=(2,)), "row 2: 'x' is missing"),
        (parquet(x=[[1, 2], [1, None]]), Column("x", "int64", (2,)), "row 2: 'x' is missing"),
        (parquet(x=[[1.0, 2.0, 3.0]]), Column("x", shape=(2,)), "declares a list of 2 values"),
        (truncated, FLOAT, "a.parquet cannot be read"),
        (cut_gzip, FLOAT, "a.csv.gz cannot be read"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(
    write: Callable[[Path], None], column: Column, words: str, tmp_path: Path
) -> None:
    write(tmp_path)
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, (column,))
    assert words in caught.value.message
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message


def test_a_type_that_changes_between_files_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"f": [1.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"f": ["x"]}), tmp_path / "b.parquet")
    with pytest.raises(RecipeError, match=r"b\.parquet: 'f' is string"):
        read(tmp_path, (FLOAT,))


def test_chunks_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"f": np.arange(10_000.0)}), tmp_path / "a.parquet")
    assert max(count(c) for c in read_tables(tmp_path, "*.parquet", (FLOAT,), rows=999)) <= 999
    monkeypatch.setattr("chandlery.tables.CHUNK_BYTES", 8_000)
    assert max(count(c) for c in read_tables(tmp_path, "*.parquet", (FLOAT,))) <= 1000
    assert np.array_equal(read(tmp_path, (FLOAT,))["f"], np.arange(10_000))


TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r"), max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(TEXTS, st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.booleans()),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 7),
)  # fmt: skip
def test_csv_and_parquet_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, float, int, bool]], rows: int
) -> None:
    import csv as python_csv

    values = [(t, 0.5 if f.is_integer() and abs(f) >= 2**53 else f, i, b) for t, f, i, b in values]
    folder = tmp_path_factory.mktemp("tables")
    with (folder / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = python_csv.writer(file, quoting=python_csv.QUOTE_ALL)
        writer.writerow("tfib")
        writer.writerows([t, repr(f), i, b] for t, f, i, b in values)
    t, f, i, b = (list(column) for column in zip(*values, strict=True))
    pq.write_table(pa.table({"t": t, "f": pa.array(f, pa.float64()), "i": i, "b": b}), folder / "a.parquet")
    one = read(folder, ALL, "*.csv", Csv(missing=()), rows)
    other = read(folder, ALL, "*.parquet", rows=rows)
    for name in "tfib":
        assert one[name].tolist() == other[name].tolist()
    assert other["t"].tolist() == t
    assert other["f"].tolist() == f
