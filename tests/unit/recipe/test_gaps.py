"""Missing values: one type and one place in the split, whatever stands beside a row; and numbers that do not fit."""

import numpy as np
import pytest

from chandlery.errors import RecipeError
from chandlery.recipe import Column, check_rows, part_of, split_rows
from tests.recipes import Answers


class Gaps(Answers):
    schema = (Column("x", "int64", nullable=True), Column("y"))
    target = "y"

    def wrong(self, prediction: float, truth: float) -> bool:
        return prediction != truth


def test_type_does_not_depend_on_the_rows() -> None:
    for given in ([1, 2], [1.0, np.nan], [np.nan, np.nan]):
        rows = check_rows(Gaps().inputs(), {"x": np.array(given)})
        assert rows["x"].dtype == np.float64
        assert np.array_equal(rows["x"], given, equal_nan=True)


@pytest.mark.parametrize("given", [[1.5, 2], [np.inf, 1]])
def test_other_numbers_are_refused(given: list[float]) -> None:
    with pytest.raises(RecipeError, match="not whole numbers"):
        check_rows(Gaps().inputs(), {"x": np.array(given)})


def test_a_row_is_where_it_was_as_an_integer() -> None:
    x = np.arange(500)
    parts = split_rows({"x": x})
    assert (part_of(Gaps(), {"x": x.astype("float64")}) == parts).all()
    with_gap = np.append(x.astype("float64"), np.nan)
    assert (part_of(Gaps(), {"x": with_gap})[:-1] == parts).all()


@pytest.mark.parametrize("given", [np.array([2**53 + 1, 3]), np.array([2.0**53, np.nan])])
def test_numbers_that_a_float_rounds_are_refused(given: np.ndarray) -> None:
    with pytest.raises(RecipeError, match=r"beyond 2\^53"):
        check_rows(Gaps().inputs(), {"x": given})


@pytest.mark.parametrize(
    ("dtype", "given", "words"),
    [
        ("uint8", [300], "uint8 cannot hold"),
        ("uint8", [-1], "uint8 cannot hold"),
        ("uint8", [1.5], "not whole numbers"),
        ("uint8", [np.nan], "missing value"),
        ("int64", [np.nan], "missing value"),
        ("bool", [2], "neither 0 nor 1"),
        ("bool", [np.nan], "missing value"),
    ],
)
def test_no_number_becomes_another(dtype: str, given: list[float], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        check_rows((Column("x", dtype),), {"x": np.array(given)})
    fitting = check_rows((Column("x", dtype),), {"x": np.array([1.0, 0.0])})["x"]
    assert (fitting.dtype, fitting.tolist()) == (np.dtype(dtype), [1, 0])


class NAType:
    """As pandas' value for none."""


@pytest.mark.parametrize("none", [None, float("nan"), NAType()])
def test_missing_texts_are_empty_where_they_may_be_missing(none: object) -> None:
    given = {"x": np.array([none, "NaN"], dtype=object)}
    rows = check_rows((Column("x", "str", nullable=True),), given)
    assert rows["x"].tolist() == ["", "NaN"]
    with pytest.raises(RecipeError, match="'x' has a missing text"):
        check_rows((Column("x", "str"),), given)
