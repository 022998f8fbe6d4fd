"""Minimum, median, maximum, and ratios pair by pair."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """What several rounds gave: least, median and greatest."""

    min: float
    median: float
    max: float


def spread(values: Sequence[float]) -> Spread | None:
    """Return the spread of some values; None of none."""
    if not values:
        return None
    return Spread(min(values), statistics.median(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours over theirs, round by round; a round that one of them does not have, or where theirs is 0, has none.

    Pairs, because what disturbs a machine lasts longer than one run: it hits both, and cancels out.
    """
    return [one / other for one, other in zip(ours, theirs, strict=False) if other]
