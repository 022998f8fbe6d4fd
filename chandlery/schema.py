"""Columns of raw data: how a schema declares them, and how rows travel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Columns = dict[str, np.ndarray]
Value = float | int | str

# The types of a column, by numpy's names. All of them travel in the Open Inference Protocol.
DTYPES = frozenset(
    {"bool", "str", "float16", "float32", "float64"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)


@dataclass(frozen=True)
class Column:
    """One column of the raw data: the same declaration validates datasets, describes and checks requests.

    Attributes:
        name: column name.
        dtype: one of `DTYPES`, such as `float64`, `int64`, `uint8`, `bool` or `str`.
        shape: shape of one row's value; () for a scalar.
        minimum: smallest value allowed; None for no limit.
        maximum: largest value allowed; None for no limit.
        allowed: closed set of values; empty for no limit.
        nullable: missing values are allowed. Numbers have NaN there, so a nullable column of whole numbers is always
            float64; texts are empty.
        description: what it is, with its unit.
    """

    name: str
    dtype: str = "float64"
    shape: tuple[int, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[Value, ...] = ()
    nullable: bool = False
    description: str = ""
