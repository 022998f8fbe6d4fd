"""A row's part depends on its content alone, in every commit and on every machine."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery.recipe import split_rows, take


def test_parts_are_what_they_always_were() -> None:
    # Fixed for good: another answer would put rows that old champions were trained on into the test part.
    rows = {"x": np.arange(12, dtype="float64"), "route": np.array(["a", "bö"] * 6)}
    assert "".join(part[1] for part in split_rows(rows)) == "rraarererrrr"  # tRain, vAlidation, tEst


def test_shares_are_70_15_15() -> None:
    parts = split_rows({"x": np.arange(20_000)})
    shares = [float(np.mean(parts == name)) for name in ("train", "validation", "test")]
    assert np.allclose(shares, [0.70, 0.15, 0.15], atol=0.01)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(), st.text(max_size=6)), min_size=2, max_size=30), st.randoms())
def test_neither_order_nor_company_moves_a_row(values: list[tuple[float, str]], random: object) -> None:
    rows = {"x": np.array([v[0] for v in values]), "name": np.array([v[1] for v in values])}
    whole = split_rows(rows)
    order = np.random.default_rng(random.randrange(2**32)).permutation(len(values))  # type: ignore[attr-defined]
    assert (split_rows(take(rows, order)) == whole[order]).all()
    first = split_rows({name: column[:1] for name, column in rows.items()})
    assert first[0] == whole[0]
