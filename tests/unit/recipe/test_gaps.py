"""Whole numbers of which some are missing: one type and one place in the split, whatever stands beside a row."""

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
