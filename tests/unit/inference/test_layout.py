"""Protects: a table of values reaches the columns it is meant for, and nothing is guessed."""

from __future__ import annotations

import numpy as np
import pytest

from chandlery.inference.layout import array_of, columns_of_json, columns_of_table, places, table_of_answers
from chandlery.inference.refusal import Refused
from chandlery.recipe import Column

SCAN = (Column("pixels", "float32", (2, 2)),)
MIXED = (Column("airport", "str"), Column("hour", "int64"), Column("wind", "float64", nullable=True))
WIDE = (Column("a", "float64"), Column("b", "float64", (2,)))


@pytest.mark.parametrize(
    ("columns", "table", "names", "expected"),
    [
        (SCAN, [[[1, 2], [3, 4]]], [], {"pixels": [[[1, 2], [3, 4]]]}),
        (SCAN, [[[1, 2], [3, 4]]], ["pixels"], {"pixels": [[[1, 2], [3, 4]]]}),
        (SCAN, [[1, 2, 3, 4]], [], {"pixels": [[[1, 2], [3, 4]]]}),
        (SCAN, [[1, 2, 3, 4]], ["pixels"], {"pixels": [[[1, 2], [3, 4]]]}),
        (
            SCAN,
            [[4, 3, 2, 1]],
            ["pixels:3", "pixels:2", "pixels:1", "pixels:0"],
            {"pixels": [[[1, 2], [3, 4]]]},
        ),
        (WIDE, [[1, 2, 3]], [], {"a": [1], "b": [[2, 3]]}),
        (WIDE, [[2, 3, 1]], ["b:0", "b:1", "a"], {"a": [1], "b": [[2, 3]]}),
        (
            MIXED,
            [["HAM", 7, 0.1], ["LEJ", 8, 1e-7]],
            [],
            {"airport": ["HAM", "LEJ"], "hour": [7, 8], "wind": [0.1, 1e-7]},
        ),
        (
            MIXED,
            [[0.5, "HAM", 7]],
            ["wind", "airport", "hour"],
            {"airport": ["HAM"], "hour": [7], "wind": [0.5]},
        ),
        ((Column("x", "float64"),), [1.0, 2.0], [], {"x": [1.0, 2.0]}),
    ],
)
def test_table_reaches_its_columns(columns, table, names, expected):
    request = columns_of_table(columns, np.array(table), names)
    assert {name: values.tolist() for name, values in request.items()} == expected


@pytest.mark.parametrize(
    ("columns", "table", "names", "says"),
    [
        (SCAN, [[1, 2, 3]], [], "expected [n, 4]"),
        (SCAN, [1, 2, 3, 4], [], "expected [n, 4]"),
        (SCAN, [[1, 2, 3, 4]], ["a", "b", "c", "d"], "'a'"),
        (WIDE, [[1, 2]], [], "expected [n, 3]"),
        (WIDE, [[1, 2, 3]], ["a", "a", "b:0"], "data.names"),
        (WIDE, [[1, 2, 3]], ["a", "b:0"], "'b:1'"),
        (WIDE, 5, [], "shape []"),
    ],
)
def test_what_does_not_fit_is_refused(columns, table, names, says):
    with pytest.raises(Refused, match="expected") as refused:
        columns_of_table(columns, np.array(table), names)
    assert refused.value.status == 400
    assert says in refused.value.info


def test_null_becomes_missing_only_where_it_may():
    table = array_of([["HAM", 7, None]], "data")
    assert np.isnan(columns_of_table(MIXED, table, [])["wind"][0])
    with pytest.raises(Refused, match="'airport'"):
        columns_of_table(MIXED, array_of([[None, 7, 1.0]], "data"), [])
    strict = columns_of_json((Column("x", "float64"),), {"x": [1.0, None]})
    assert strict["x"].dtype == object  # left for the recipe to refuse


@pytest.mark.parametrize("values", [[[1], [1, 2]], [{"a": 1}], [[1, [2]]], [1, {}]])
def test_what_is_no_array_is_refused(values):
    with pytest.raises(Refused):
        array_of(values, "data")


def test_answers_make_one_table():
    names, table = table_of_answers(
        {"digit": np.array([7, 8]), "shares": np.array([[0.25, 0.75], [1, 0]], "float32")}
    )
    assert names == ["digit", "shares:0", "shares:1"]
    assert table.tolist() == [[7, 0.25, 0.75], [8, 1, 0]]
    names, table = table_of_answers({"label": np.array(["dark"]), "n": np.array([3])})
    assert table.tolist() == [["dark", 3]]
    assert places("x", ()) == ["x"]
