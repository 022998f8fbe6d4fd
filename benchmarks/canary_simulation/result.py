"""What a simulated policy decided."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Result:
    """What a policy decided in each run.

    Attributes:
        rolled_back: minute of the rollback (from 1), or -1; shape (runs,).
        promoted: minute of the promotion, or -1.
        events: bad events that the decision took, where a policy stops within a minute; otherwise empty.
    """

    rolled_back: Counts
    promoted: Counts
    events: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def rollback_rate(self) -> float:
        """Share of runs that ended in a rollback."""
        return float(np.mean(self.rolled_back > 0))

    @property
    def promotion_rate(self) -> float:
        """Share of runs that ended in a promotion."""
        return float(np.mean(self.promoted > 0))

    @property
    def median_minutes(self) -> float:
        """Median minute of the decision, over runs that were decided; NaN when none was."""
        decided = np.maximum(self.rolled_back, self.promoted)
        return float(np.median(decided[decided > 0])) if (decided > 0).any() else math.nan
