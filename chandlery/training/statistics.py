"""The statistics of evaluation and comparison. numpy only: a step should not wait for scipy.

Sources: Efron and Tibshirani (1993), An Introduction to the Bootstrap, ch. 13 (percentile interval);
McNemar (1947) in its exact form; Tango (1998), Statistics in Medicine 17:891-908 (score interval for the
difference of paired proportions); Pitman's sign-flip permutation test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from chandlery.errors import RecipeError

Scores = dict[str, float]


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a figure."""

    low: float
    high: float


def bootstrap(
    score: Callable[[np.ndarray], Scores], rows: int, resamples: int, confidence: float, seed: int
) -> dict[str, Interval]:
    """Return percentile bootstrap intervals of figures of a sample.

    Args:
        score: returns the figures of the rows with the given indices (n,), with repetitions.
        rows: number of rows of the sample.
        resamples: number of resamples.
        confidence: two-sided level, such as 0.95.
        seed: seed of the resampling.
    """
    drawn = resample(score, rows, resamples, seed)
    tail = (1 - confidence) / 2
    intervals = {}
    for name in score(np.arange(rows)):
        values = _finite(drawn, name)
        low, high = np.quantile(values, [tail, 1 - tail]) if len(values) else (math.nan, math.nan)
        intervals[name] = Interval(float(low), float(high))
    return intervals


def resample(score: Callable[[np.ndarray], Scores], rows: int, resamples: int, seed: int) -> list[Scores]:
    """Return the figures of each bootstrap resample; those that are undefined there are absent."""
    random = np.random.default_rng(seed)
    return [_defined(score, random.integers(0, rows, rows)) for _ in range(resamples)]


def bootstrap_p(drawn: list[Scores], name: str) -> float:
    """Return the one-sided p-value that a figure is above zero: the share of resamples where it is not.

    It inverts the percentile interval (Efron and Tibshirani 1993, ch. 15.4), and is at least 1 / (resamples + 1).
    """
    values = _finite(drawn, name)
    return float(((values <= 0).sum() + 1) / (len(values) + 1))


def _finite(drawn: list[Scores], name: str) -> np.ndarray:
    values = np.array([figures.get(name, math.nan) for figures in drawn])
    finite: np.ndarray = values[np.isfinite(values)]  # without a rare class a metric may be undefined
    return finite


def _defined(score: Callable[[np.ndarray], Scores], chosen: np.ndarray) -> Scores:
    # Some metrics raise where they are undefined, such as a ranking metric on rows of one class.
    try:
        return score(chosen)
    except RecipeError:
        return {}


def mcnemar(wins: int, losses: int) -> float:
    """Return the exact one-sided p-value of McNemar's test that the wins are more than chance.

    Args:
        wins: rows that only the challenger got right.
        losses: rows that only the champion got right.

    Returns:
        P(at least `wins` of `wins + losses`) when either is equally likely.
    """
    pairs = wins + losses
    return float(sum(math.comb(pairs, k) for k in range(wins, pairs + 1)) / 2**pairs)


def tango_lower(wins: int, losses: int, rows: int, alpha: float) -> float:
    """Return the lower 1 - `alpha` confidence limit of the difference of two paired proportions.

    Tango's score interval: it holds for small samples and for pairs that never disagree, where a bootstrap
    claims certainty.

    Args:
        wins: rows that only the challenger got right.
        losses: rows that only the champion got right.
        rows: all rows.
        alpha: one-sided error.

    Returns:
        the smallest difference (challenger - champion) that is not rejected, -1 to 1.
    """
    critical = NormalDist().inv_cdf(1 - alpha)
    low, high = -1.0, (wins - losses) / rows
    # The score statistic falls as the assumed difference rises; halve until the limit is exact to 1e-9.
    while high - low > 1e-9:
        middle = (low + high) / 2
        if _tango_statistic(wins, losses, rows, middle) > critical:
            low = middle
        else:
            high = middle
    return low


def sign_flip(gains: np.ndarray, resamples: int, seed: int) -> float:
    """Return the one-sided p-value that the mean of paired gains is above zero, by random flips of their signs.

    Args:
        gains: for each row how much smaller the challenger's loss is, (n,).
        resamples: number of random flips; the smallest p-value is 1 / (resamples + 1).
        seed: seed of the flips.
    """
    observed = float(gains.mean())
    random = np.random.default_rng(seed)
    beyond = 0
    for _ in range(resamples):
        signs = random.integers(0, 2, len(gains)) * 2 - 1
        beyond += float((gains * signs).mean()) >= observed
    return (beyond + 1) / (resamples + 1)


def _tango_statistic(wins: int, losses: int, rows: int, difference: float) -> float:
    # The maximum-likelihood share of losses under the assumed difference solves a x**2 + b x + c = 0.
    a = 2 * rows
    b = -wins - losses + (2 * rows - wins + losses) * difference
    c = -losses * difference * (1 - difference)
    share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = rows * (2 * share + difference * (1 - difference))
    distance = wins - losses - rows * difference
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)
