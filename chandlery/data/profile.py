"""Figures of a column that add up over chunks of rows: the same ones however the rows are cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

DISTINCT = 100_000  # distinct values counted of a column
SAMPLE = 20_000  # values kept of a column for its histogram
COUNTED = 1000  # distinct values up to which each is counted by itself


@dataclass
class Profile:
    """Figures of one column.

    Attributes:
        dtype: numpy type name of its first chunk; `str` for texts.
        shape: shape of one row's value.
        rows: number of rows.
        missing: number of missing values: NaN, or None among objects.
        least: smallest finite number; of texts always None.
        greatest: largest one.
        total: sum of the finite numbers.
        numbers: how many these are.
        counts: rows of each value, while there are at most `COUNTED` different ones; otherwise None.
        sample: evenly spaced finite numbers, at most `SAMPLE`.
    """

    dtype: str = ""
    shape: tuple[int, ...] = ()
    rows: int = 0
    missing: int = 0
    least: float | None = None
    greatest: float | None = None
    total: float = 0.0
    numbers: int = 0
    counts: dict[Any, int] | None = field(default_factory=dict)
    _values: Any = None  # the distinct values; None after there were too many
    _kept: np.ndarray = field(default_factory=lambda: np.empty(0))
    _stride: int = 1

    @property
    def numeric(self) -> bool:
        """The column holds numbers."""
        return self.dtype != "str"

    @property
    def mean(self) -> float | None:
        """Mean of the finite numbers; None without any."""
        return self.total / self.numbers if self.numbers else None

    @property
    def distinct(self) -> str:
        """Number of distinct values, as text."""
        return f"more than {DISTINCT}" if self._values is None else str(len(self._values))

    @property
    def sample(self) -> np.ndarray:
        """Evenly spaced finite numbers, at most `SAMPLE`."""
        return self._kept

    def add(self, array: np.ndarray) -> None:
        """Add the values of more rows, (n, *shape)."""
        if not self.rows:
            self.dtype = str(array.dtype) if array.dtype.kind in "fiub" else "str"
            self.shape = array.shape[1:]
            self._values = np.empty(0, dtype=array.dtype) if self.numeric else set()
        self.rows += len(array)
        if array.dtype.kind not in "fiub" or not self.numeric:
            self._add_texts(array)
            return
        finite = array[np.isfinite(array)]
        self.missing += int(np.isnan(array).sum()) if array.dtype.kind == "f" else 0
        if not finite.size:
            return
        low, high = float(finite.min()), float(finite.max())
        self.least = low if self.least is None else min(self.least, low)
        self.greatest = high if self.greatest is None else max(self.greatest, high)
        self.total += float(finite.sum(dtype="float64"))
        self._keep(finite)
        self.numbers += finite.size
        if self._values is None and self.counts is None:
            return
        values, counts = np.unique(finite, return_counts=True)
        if self._values is not None:
            self._values = np.union1d(self._values, values)
            if len(self._values) > DISTINCT:
                self._values = None
        self._count(
            dict(zip(values.tolist(), counts.tolist(), strict=True)) if len(values) <= COUNTED else None
        )

    def _add_texts(self, array: np.ndarray) -> None:
        import pandas as pd

        self.missing += int(pd.isna(array.ravel()).sum())
        values = array.ravel().tolist()
        if self._values is not None:
            self._values = set(self._values) | set(values)
            if len(self._values) > DISTINCT:
                self._values = None
        if self.counts is not None:
            found: dict[Any, int] = {}
            for value in values:
                found[value] = found.get(value, 0) + 1
            self._count(found if len(found) <= COUNTED else None)

    def _count(self, found: dict[Any, int] | None) -> None:
        if self.counts is None or found is None:
            self.counts = None
            return
        for value, count in found.items():
            self.counts[value] = self.counts.get(value, 0) + count
        if len(self.counts) > COUNTED:
            self.counts = None

    def _keep(self, finite: np.ndarray) -> None:
        # Every `stride`-th number, counted over all chunks: the same ones however the rows are cut.
        first = -self.numbers % self._stride
        self._kept = np.concatenate([self._kept, finite[first :: self._stride].astype("float64")])
        while len(self._kept) > SAMPLE:
            self._kept = self._kept[::2]
            self._stride *= 2
