"""Columns of raw data: how a schema declares them, and how rows travel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Columns = dict[str, np.ndarray]
Value = float | int | str


@dataclass(frozen=True)
class Column:
    """One column of the raw data: the same declaration validates datasets, describes and checks requests.

    Attributes:
        name: column name.
        dtype: numpy type name: `float32`, `float64`, `int64`, `bool` or `str`.
        shape: shape of one row's value; () for a scalar.
        minimum: smallest value allowed; None for no limit.
        maximum: largest value allowed; None for no limit.
        allowed: closed set of values; empty for no limit.
        nullable: missing values are allowed. Numbers have NaN there, so a column of whole numbers is float64 when one
            is missing.
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
