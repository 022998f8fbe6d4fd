"""Sample-ratio check: did the traffic split by the weights?

Evidence compares counts with the weight in force. A gateway that splits otherwise, retries to the other variant or
loses one variant's counters makes every later conclusion wrong, so this is looked at first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from chandlery.canary.decision.evalue import Floats, log_unequal

PRIOR_WEIGHT = 200.0  # a mismatch that matters is a small one, seen over many requests


def log_mismatch(challenger: ArrayLike, total: ArrayLike, share: ArrayLike) -> Floats:
    """Return the log e-value against "each request reached the challenger with probability `share`", two-sided.

    Multiply over weight epochs (add the logs); alarm at log(1/alpha). Valid at any stopping time.

    Args:
        challenger: requests that the challenger got in one weight epoch.
        total: requests that both variants got in that epoch.
        share: the weight in force as a share, in (0, 1).
    """
    return log_unequal(challenger, total, np.asarray(share, dtype=float), PRIOR_WEIGHT)
