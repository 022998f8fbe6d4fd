"""Evidence that stays valid however often one looks: beta-mixture e-processes on bad events.

Each *bad event* (wrong answer, HTTP error, slow request) fell either on the challenger or on the champion. When the
challenger gets the share s of the traffic and its bad-event rate is r times the champion's, a bad event is the
challenger's with probability theta(r) = s r / (s r + 1 - s), whatever the load does. Against the point theta0 the
likelihood ratio of a beta prior around theta0, truncated to the alternative side, is a martingale with mean 1 under
theta0 and a supermartingale on the whole null side. By Ville's inequality it ever reaches 1/alpha with probability
at most alpha, so "decide when it does" may be checked after every single request.

Everything is in natural logarithms and elementwise on arrays. Counts of many millions stay finite.

Sources: Howard, Ramdas, McAuliffe, Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences (2021);
Lindon, Sanden, Shirikian, arXiv 2205.14762; Lindon, Malek, Anytime-valid inference for multinomial count data (2022).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincc, betaln, xlog1py, xlogy

Floats = NDArray[np.float64]

PRIOR_WEIGHT = (
    40.0  # prior observations: flat enough to learn from tens of events, tight enough to start fast
)

_TINY = 1e-150  # scipy's betainc loses its digits below about 1e-174; the continued fraction keeps them
_MAX_TERMS = 20_000


def event_share(share: ArrayLike, ratio: ArrayLike) -> Floats:
    """Return theta(r): the probability that a bad event is the challenger's.

    Args:
        share: the challenger's share of the traffic, in (0, 1).
        ratio: the challenger's bad-event rate over the champion's, > 0.
    """
    weighted = np.asarray(share, dtype=float) * np.asarray(ratio, dtype=float)
    return np.asarray(weighted / (weighted + 1.0 - np.asarray(share, dtype=float)))


def log_rollback(bad: ArrayLike, total: ArrayLike, share: ArrayLike, weight: float = PRIOR_WEIGHT) -> Floats:
    """Return the log e-value against "the challenger is not worse" (r <= 1); roll back at log(1/alpha).

    Args:
        bad: bad events of the challenger in one weight epoch.
        total: bad events of both variants in that epoch.
        share: the challenger's share of the traffic in that epoch, in (0, 1).
        weight: weight of the prior, in events.
    """
    return log_above(bad, total, event_share(share, 1.0), weight)


def log_promote(
    bad: ArrayLike, total: ArrayLike, share: ArrayLike, margin: ArrayLike, weight: float = PRIOR_WEIGHT
) -> Floats:
    """Return the log e-value against "the challenger is at least `margin` times as bad"; promote at log(1/beta).

    Args:
        bad: bad events of the challenger in one weight epoch.
        total: bad events of both variants in that epoch.
        share: the challenger's share of the traffic in that epoch, in (0, 1).
        margin: rate ratio that must be excluded, > 1 for a non-inferiority test.
        weight: weight of the prior, in events.
    """
    return log_below(bad, total, event_share(share, margin), weight)


def log_above(hits: ArrayLike, total: ArrayLike, theta: ArrayLike, weight: float = PRIOR_WEIGHT) -> Floats:
    """Return the log e-value of `hits` in `total` trials against success probabilities <= theta.

    log E = log B(a+k, b+n-k) + log P(T > theta | a+k, b+n-k) - log B(a, b) - log P(T > theta | a, b)
            - k log theta - (n-k) log(1-theta), with a = theta w, b = (1 - theta) w and T a beta variable.
    """
    k, n, p, a, b = _arguments(hits, total, theta, weight)
    truncation = log_beta_tail(a + k, b + n - k, p) - log_beta_tail(a, b, p)
    return np.asarray(_log_mixture(k, n, p, a, b) + truncation)


def log_below(hits: ArrayLike, total: ArrayLike, theta: ArrayLike, weight: float = PRIOR_WEIGHT) -> Floats:
    """Return the log e-value of `hits` in `total` trials against success probabilities >= theta."""
    k, n, p, a, b = _arguments(hits, total, theta, weight)
    truncation = log_beta_head(a + k, b + n - k, p) - log_beta_head(a, b, p)
    return np.asarray(_log_mixture(k, n, p, a, b) + truncation)


def log_unequal(hits: ArrayLike, total: ArrayLike, theta: ArrayLike, weight: float) -> Floats:
    """Return the log e-value of `hits` in `total` trials against the success probability theta, two-sided."""
    return np.asarray(_log_mixture(*_arguments(hits, total, theta, weight)))


def log_mean(logs: ArrayLike, shares: ArrayLike) -> float:
    """Return the log of the weighted mean of e-values: itself an e-value when every one of them is.

    Args:
        logs: log e-values.
        shares: their weights, non-negative, summing to 1.
    """
    values, weights = np.asarray(logs, dtype=float), np.asarray(shares, dtype=float)
    values, weights = values[weights > 0], weights[weights > 0]
    top = values.max()
    return float(top + np.log(np.sum(weights * np.exp(values - top))))


def log_beta_head(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Floats:
    """Return log P(T <= x) for a beta(a, b) variable T, accurate far below the smallest double."""
    a, b, x = _broadcast(a, b, x)
    return _log_or_fraction(np.asarray(betainc(a, b, x), dtype=float), a, b, x)


def log_beta_tail(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Floats:
    """Return log P(T > x) for a beta(a, b) variable T, accurate far below the smallest double."""
    a, b, x = _broadcast(a, b, x)
    return _log_or_fraction(np.asarray(betaincc(a, b, x), dtype=float), b, a, 1.0 - x)


def _log_mixture(k: Floats, n: Floats, p: Floats, a: Floats, b: Floats) -> Floats:
    return np.asarray(betaln(a + k, b + n - k) - betaln(a, b) - xlogy(k, p) - xlog1py(n - k, -p))


def _broadcast(*values: ArrayLike) -> list[Floats]:
    return [np.asarray(v) for v in np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in values))]


def _log_or_fraction(value: Floats, a: Floats, b: Floats, x: Floats) -> Floats:
    probability = np.atleast_1d(value)
    with np.errstate(divide="ignore"):
        result: Floats = np.log(probability)
    deep = ~(probability > _TINY)
    if deep.any():
        a, b, x = (np.atleast_1d(v)[deep] for v in (a, b, x))
        result[deep] = _log_head_by_fraction(a, b, x)
    return np.asarray(result.reshape(np.shape(value)))


def _log_head_by_fraction(a: Floats, b: Floats, x: Floats) -> Floats:
    """Return log of the regularised incomplete beta function deep in its lower tail.

    Continued fraction of DLMF 8.17.22 by the modified Lentz algorithm; it converges fast for x below the mean, and
    x is far below the mean where the function is this small.
    """
    c = np.ones_like(x)
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / np.where(np.abs(d) < 1e-300, 1e-300, d)
    fraction = d.copy()
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = np.ones_like(x)
        for term in (even, odd):
            d = 1.0 + term * d
            c = 1.0 + term / c
            d = 1.0 / np.where(np.abs(d) < 1e-300, 1e-300, d)
            c = np.where(np.abs(c) < 1e-300, 1e-300, c)
            change = c * d
            fraction = fraction * change
        if np.all(np.abs(change - 1.0) < 1e-14):
            break
    return np.asarray(xlogy(a, x) + xlog1py(b, -x) - np.log(a) - betaln(a, b) + np.log(fraction))


def _arguments(
    hits: ArrayLike, total: ArrayLike, theta: ArrayLike, weight: float
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    k, n, p = _broadcast(hits, total, theta)
    if np.any(p <= 0) or np.any(p >= 1):
        raise ValueError("a share of events lies strictly between 0 and 1")
    if np.any(k < 0) or np.any(k > n):
        raise ValueError("hits lie between 0 and the total")
    if weight <= 0:
        raise ValueError("the weight of the prior is positive")
    return k, n, p, p * weight, (1.0 - p) * weight
