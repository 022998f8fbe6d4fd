"""The e-process does what its mathematics says: closed form, martingale, monotone, finite, within its budget."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from chandlery.canary.decision import evalue, sample_ratio

shares = st.floats(0.01, 0.99)
streams = st.lists(st.booleans(), min_size=0, max_size=60)


def integrated(k: int, n: int, theta: float, side: str, weight: float = 40.0) -> float:
    """The mixture by quadrature: an independent way to the same number."""
    prior = stats.beta(theta * weight, (1 - theta) * weight)
    low, high = {"above": (theta, 1.0), "below": (0.0, theta)}[side]
    mass = prior.cdf(high) - prior.cdf(low)

    def ratio(t: float) -> float:
        return prior.pdf(t) * math.exp(k * math.log(t / theta) + (n - k) * math.log((1 - t) / (1 - theta)))

    return integrate.quad(ratio, low, high, limit=300)[0] / mass


@pytest.mark.parametrize(
    ("k", "n", "theta"), [(0, 0, 0.3), (3, 20, 0.1), (9, 20, 0.1), (40, 60, 0.5), (1, 90, 0.2)]
)
@pytest.mark.parametrize("side", ["above", "below"])
def test_closed_form_is_the_integral(k: int, n: int, theta: float, side: str) -> None:
    function = {"above": evalue.log_above, "below": evalue.log_below}[side]
    assert math.exp(function(k, n, theta)) == pytest.approx(integrated(k, n, theta, side), rel=1e-6)


@settings(max_examples=150, deadline=None)
@given(events=streams, theta=shares, above=st.booleans())
def test_streaming_form_agrees_with_the_closed_form(events: list[bool], theta: float, above: bool) -> None:
    """Event by event, E grows by (probability that the alternative gave the event) / (that of the null)."""
    function = evalue.log_above if above else evalue.log_below
    mass = evalue.log_beta_tail if above else evalue.log_beta_head
    a, b = theta * 40, (1 - theta) * 40
    running, k = 0.0, 0
    for n, hit in enumerate(events):
        # Posterior mean of the truncated beta: the predictive probability of a hit.
        log_mean = math.log((a + k) / (a + b + n)) + float(
            mass(a + k + 1, b + n - k, theta) - mass(a + k, b + n - k, theta)
        )
        log_miss = math.log((b + n - k) / (a + b + n)) + float(
            mass(a + k, b + n - k + 1, theta) - mass(a + k, b + n - k, theta)
        )
        running += (log_mean - math.log(theta)) if hit else (log_miss - math.log1p(-theta))
        k += hit
    assert running == pytest.approx(float(function(k, len(events), theta)), abs=1e-8)


@settings(max_examples=100, deadline=None)
@given(k=st.integers(0, 200), more=st.integers(0, 200), theta=shares)
def test_it_is_a_martingale_at_the_null_point(k: int, more: int, theta: float) -> None:
    """At the null point theta * E(k+1, n+1) + (1-theta) * E(k, n+1) = E(k, n), exactly, for both sides and for the two-sided form."""
    n = k + more
    for function in (evalue.log_above, evalue.log_below, lambda k, n, t: evalue.log_unequal(k, n, t, 200.0)):
        now = float(function(k, n, theta))
        then = theta * math.exp(function(k + 1, n + 1, theta) - now) + (1 - theta) * math.exp(
            function(k, n + 1, theta) - now
        )
        assert then == pytest.approx(1.0, abs=1e-7)


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 500), theta=shares)
@example(n=472, theta=0.2109375)  # scipy's betainc is wrong by half a log here
def test_more_bad_events_of_the_challenger_speak_against_it(n: int, theta: float) -> None:
    k = np.arange(n + 1)
    assert np.all(np.diff(evalue.log_above(k, n, theta)) > 0)
    assert np.all(np.diff(evalue.log_below(k, n, theta)) < 0)


@settings(max_examples=100, deadline=None)
@given(k=st.integers(0, 300), more=st.integers(0, 300), theta=shares)
def test_the_sides_mirror_each_other(k: int, more: int, theta: float) -> None:
    n = k + more
    assert float(evalue.log_above(k, n, theta)) == pytest.approx(
        float(evalue.log_below(more, n, 1 - theta)), abs=1e-7
    )


@pytest.mark.parametrize(
    ("k", "n", "theta"),
    [
        (0, 10**9, 0.05),
        (10**9, 10**9, 0.05),
        (10**9, 2 * 10**9, 0.5),
        (5, 10**7, 0.9999),
        (10**6, 10**6, 1e-6),
        (0, 10**6, 1 - 1e-9),
        (50_000_000, 10**9, 0.05),
        (0, 0, 1e-12),
    ],
)
def test_extreme_counts_stay_finite(k: int, n: int, theta: float) -> None:
    for function in (evalue.log_above, evalue.log_below):
        assert math.isfinite(function(k, n, theta)), function.__name__
    assert math.isfinite(sample_ratio.log_mismatch(k, n, theta))


def test_the_deep_tail_continues_the_ordinary_one() -> None:
    """Where the incomplete beta function underflows the continued fraction takes over without a step."""
    b = np.linspace(900.0, 1500.0, 400)
    values = evalue.log_beta_tail(10.0, b, 0.5)
    assert values.min() < math.log(1e-300) < math.log(1e-280) < values.max()
    slopes = np.diff(values)
    assert np.allclose(slopes[1:], slopes[:-1], rtol=1e-3)
    assert evalue.log_beta_head(2000.0, 10.0, 0.1) == pytest.approx(
        evalue.log_beta_tail(10.0, 2000.0, 0.9), rel=1e-12
    )


def test_truncation_helps_against_the_two_sided_form() -> None:
    assert evalue.log_above(20, 60, 0.1) > evalue.log_unequal(20, 60, 0.1, 40.0)


def test_mean_of_e_values() -> None:
    assert evalue.log_mean([math.log(4), math.log(2)], [0.5, 0.5]) == pytest.approx(math.log(3))
    assert evalue.log_mean([5000.0, -5000.0], [0.9, 0.1]) == pytest.approx(5000 + math.log(0.9))
    assert evalue.log_mean([-3.0, 8.0], [1.0, 0.0]) == pytest.approx(-3.0)


@pytest.mark.parametrize(("k", "n", "theta"), [(5, 4, 0.5), (-1, 4, 0.5), (1, 4, 0.0), (1, 4, 1.0)])
def test_impossible_counts_are_refused(k: int, n: int, theta: float) -> None:
    with pytest.raises(ValueError):
        evalue.log_above(k, n, theta)


@pytest.mark.parametrize("theta", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("side", ["above", "below"])
def test_looking_after_every_event_keeps_the_budget(side: str, theta: float) -> None:
    """Ville: P(ever >= 1/alpha) <= alpha at the null point. 1000 streams of 400 events, looked at after each."""
    generator = np.random.default_rng(7)
    hits = np.cumsum(generator.random((1000, 400)) < theta, axis=1)
    function = evalue.log_above if side == "above" else evalue.log_below
    highest = function(hits, np.arange(1, 401), theta).max(axis=1)
    for alpha in (0.2, 0.05, 0.01):
        rate = float(np.mean(highest >= math.log(1 / alpha)))
        assert rate <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / 1000), alpha
    # ... and it is not so timid as to say nothing: part of the budget is spent.
    assert float(np.mean(highest >= math.log(5))) > 0.02


def test_inside_the_null_it_is_rarer_still() -> None:
    generator = np.random.default_rng(8)
    hits = np.cumsum(generator.random((600, 400)) < 0.08, axis=1)
    highest = evalue.log_above(hits, np.arange(1, 401), 0.1).max(axis=1)
    assert float(np.mean(highest >= math.log(20))) <= 0.01


def test_sample_ratio_check_is_quiet_when_the_split_is_right_and_loud_when_it_is_not() -> None:
    generator = np.random.default_rng(9)

    def first_alarm(true: float) -> np.ndarray:
        batches = np.cumsum(generator.binomial(100, true, size=(400, 400)), axis=1)
        totals = 100 * np.arange(1, 401)
        alarms = sample_ratio.log_mismatch(batches, totals, 0.10) >= math.log(1000)
        return np.where(alarms.any(axis=1), totals[alarms.argmax(axis=1)], 10**9)

    assert np.mean(first_alarm(0.10) < 10**9) <= 0.005
    assert 10_000 < np.median(first_alarm(0.11)) < 20_000  # published: 15 k requests
    assert np.median(first_alarm(0.12)) < 5_000  # published: 3.9 k
    assert np.median(first_alarm(0.05)) < 1_000  # published: 600
