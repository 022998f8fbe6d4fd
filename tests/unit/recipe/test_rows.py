"""Requests are checked against the recipe's columns, and the message says what was expected."""

import numpy as np
import pytest

from chandlery.errors import RecipeError
from chandlery.recipe import Column, check_rows

COLUMNS = (
    Column("pixels", "float32", (2,)),
    Column("count", "int64"),
    Column("route", "str"),
    Column("depth", "float64", nullable=True),
)
GOOD = {
    "pixels": np.array([[1, 2], [3, 4]]),
    "count": np.array([1.0, 2.0]),
    "route": np.array(["a", "ü"]),
    "depth": np.array([1.0, np.nan]),
}


def test_a_good_request_gets_the_schemas_types() -> None:
    rows = check_rows(COLUMNS, GOOD)
    assert {name: str(column.dtype) for name, column in rows.items()} == {
        "pixels": "float32",
        "count": "int64",
        "route": "<U1",
        "depth": "float64",
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pixels": None}, "missing 'pixels'"),
        ({"extra": np.zeros(2)}, "unknown column 'extra'"),
        ({"pixels": np.zeros((2, 3))}, r"'pixels' has shape \(2, 3\)"),
        ({"pixels": np.zeros(2)}, r"'pixels' has shape \(2,\)"),
        ({"count": np.zeros(3)}, "'count' has 3 rows where others have 2"),
        ({"count": np.array([1.5, 2])}, "not whole numbers"),
        ({"count": np.array(["1", "2"])}, "'count' is <U1"),
        ({"route": np.zeros(2)}, "'route' is float64"),
        ({"pixels": np.array([[1, np.inf], [0, 0]])}, "not finite"),
    ],
)
def test_a_bad_request_says_what_was_expected(change: dict[str, np.ndarray | None], words: str) -> None:
    request = {name: column for name, column in {**GOOD, **change}.items() if column is not None}
    with pytest.raises(RecipeError, match=words) as caught:
        check_rows(COLUMNS, request)
    assert caught.value.message.startswith("request: ")
    assert "pixels: float32[n, 2], count: int64[n]" in caught.value.hint
