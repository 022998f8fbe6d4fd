"""The tests and intervals hold what they promise, against independent computations."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, norm

from chandlery.training.statistics import bootstrap, mcnemar, sign_flip, tango_lower


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (0, 3), (13, 5), (5, 13), (40, 22)])
def test_mcnemar_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    expected = binomtest(wins, wins + losses, alternative="greater").pvalue if wins + losses else 1.0
    assert mcnemar(wins, losses) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("wins", "losses", "rows"), [(9, 4, 221), (1, 3, 44), (20, 2, 60), (3, 3, 30)])
def test_tangos_limit_is_where_the_score_test_turns(wins: int, losses: int, rows: int) -> None:
    limit = tango_lower(wins, losses, rows, 0.05)

    # The restricted likelihood maximised numerically, rather than by the closed form of the code.
    def negative(share: float) -> float:
        neither = 1 - 2 * share - limit
        return -(
            wins * math.log(share + limit)
            + losses * math.log(share)
            + (rows - wins - losses) * math.log(neither)
        )

    low, high = max(0.0, -limit) + 1e-12, (1 - limit) / 2 - 1e-12
    share = minimize_scalar(negative, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    spread = math.sqrt(rows * (2 * share + limit * (1 - limit)))
    assert (wins - losses - rows * limit) / spread == pytest.approx(norm.isf(0.05), abs=1e-3)


def test_tango_is_not_certain_when_the_models_never_disagree() -> None:
    assert tango_lower(0, 0, 20, 0.05) == pytest.approx(-(1.645**2) / (20 + 1.645**2), abs=1e-3)
    assert tango_lower(0, 0, 2000, 0.05) > -0.01


def test_tangos_limit_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(7)
    gain = 0.03
    draws = random.multinomial(150, [0.06, 0.03, 0.91], size=1500)
    limits: dict[tuple[int, int], float] = {}
    below = 0
    for wins, losses, _ in draws.tolist():
        if (wins, losses) not in limits:
            limits[wins, losses] = tango_lower(wins, losses, 150, 0.05)
        below += limits[wins, losses] > gain
    # 5 percent and three standard errors of 1,500 draws.
    assert below / 1500 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)


def test_sign_flips_tell_a_gain_from_noise() -> None:
    random = np.random.default_rng(3)
    assert sign_flip(random.normal(0.5, 1, 100), 999, seed=1) < 0.01
    assert sign_flip(random.normal(-0.5, 1, 100), 999, seed=1) > 0.99
    noise = [sign_flip(random.normal(0, 1, 30), 99, seed=i) for i in range(200)]
    assert 0.4 < float(np.mean(noise)) < 0.6
    assert float(np.mean(np.array(noise) <= 0.05)) < 0.11


def test_a_bootstrap_interval_is_that_of_the_mean() -> None:
    sample = np.random.default_rng(5).normal(10, 2, 400)
    found = bootstrap(lambda chosen: {"mean": float(sample[chosen].mean())}, 400, 2000, 0.95, seed=1)["mean"]
    half = 1.96 * sample.std() / 20
    assert found.low == pytest.approx(sample.mean() - half, abs=0.03)
    assert found.high == pytest.approx(sample.mean() + half, abs=0.03)


def test_resamples_without_a_value_are_left_out() -> None:
    found = bootstrap(lambda chosen: {"m": math.nan if 0 in chosen else 1.0}, 3, 200, 0.9, seed=1)["m"]
    assert (found.low, found.high) == (1.0, 1.0)
