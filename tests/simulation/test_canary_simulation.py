"""Seeded simulations hold the error budgets of the canary, and the published comparison."""

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.canary_simulation.simulate import (
    RATIOS,
    Setting,
    Traffic,
    Walk,
    e_processes,
    events,
    fixed_events,
    fixed_test,
    flagger,
    kayenta,
    sessions,
    traffic,
    walk,
    z_test,
)
from chandlery.canary.decision import machine
from chandlery.canary.decision.policy import ReleasePolicy
from chandlery.resources.counts import Counts

# P(rollback), P(promotion) and the median minute of the decision, 4,000 runs (Kayenta: 300), looked at every minute.
OURS = {
    1.0: (0.016, 0.984, 23),
    1.5: (0.61, 0.39, None),
    2.0: (0.984, 0.017, 18),
    3.0: (1.0, 0.0, 7),
    5.0: (1.0, 0.0, 3),
}
PUBLISHED_RUNS = 4000


def margin_of_error(rate: float, runs: int, published: int = PUBLISHED_RUNS) -> float:
    """Four standard errors of the difference of two simulated rates, and half a unit of the last printed digit."""
    spread = max(rate * (1 - rate), 0.001)
    return 4 * math.sqrt(spread / runs + spread / published) + 0.005


def at_most(rate: float, budget: float, runs: int) -> bool:
    """The rate is within the budget, allowing three standard errors of the simulation."""
    return rate <= budget + 3 * math.sqrt(budget * (1 - budget) / runs)


@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_budgets_hold_when_looked_at_every_minute(ratio: float) -> None:
    setting = Setting(runs=1000)
    result = e_processes()(traffic(setting, ratio, seed=11), setting)
    if ratio == 1.0:
        assert at_most(result.rollback_rate, 0.05, setting.runs)
        assert result.promotion_rate > 0.95
    else:
        assert at_most(result.promotion_rate, 0.05, setting.runs)
        assert result.rollback_rate > 0.95


@pytest.mark.parametrize(("alpha", "beta"), [(0.2, 0.2), (0.01, 0.1)])
def test_other_budgets_hold_too(alpha: float, beta: float) -> None:
    setting = Setting(runs=800)
    policy = e_processes(alpha, beta)
    assert at_most(policy(traffic(setting, 1.0, seed=12), setting).rollback_rate, alpha, setting.runs)
    assert at_most(policy(traffic(setting, 2.0, seed=13), setting).promotion_rate, beta, setting.runs)


def test_total_load_may_drift_as_it_likes() -> None:
    """The share is what counts: load that grows tenfold meanwhile, and errors with it, changes no budget."""
    setting = Setting(runs=800, minutes=60)
    generator = np.random.default_rng(14)
    load = np.broadcast_to(np.linspace(60, 600, setting.minutes).astype(int), (setting.runs, setting.minutes))
    rate = np.linspace(0.002, 0.05, setting.minutes)
    requests = generator.binomial(load, setting.share)
    counts = Traffic(
        requests,
        generator.binomial(requests, rate),
        load - requests,
        generator.binomial(load - requests, rate),
    )
    assert at_most(e_processes()(counts, setting).rollback_rate, 0.05, setting.runs)


@pytest.mark.parametrize("ratio", [1.0, 2.0, 5.0])
def test_the_walk_through_the_weights_keeps_the_budgets(ratio: float) -> None:
    setting = Setting(runs=1000, minutes=240)
    result = walk(Walk(), setting, ratio, seed=15)
    back, forth, unequal = ((m > 0).mean() for m in (result.rolled_back, result.promoted, result.mismatched))
    assert unequal <= 0.005
    if ratio == 1.0:
        assert at_most(back, 0.05, setting.runs)
        assert forth > 0.95
    else:
        assert at_most(forth, 0.05, setting.runs)
        assert back > 0.95


@pytest.mark.parametrize(("per_minute", "base"), [(60, 0.001), (20, 0.01)])
def test_few_events_give_no_verdict_rather_than_a_wrong_one(per_minute: int, base: float) -> None:
    setting = Setting(runs=400, minutes=240, per_minute=per_minute, base=base)
    equal, bad = (walk(Walk(minimum=30), setting, ratio, seed=16) for ratio in (1.0, 2.0))
    assert at_most((equal.rolled_back > 0).mean(), 0.05, setting.runs)
    assert at_most((bad.promoted > 0).mean(), 0.05, setting.runs)
    assert ((equal.rolled_back < 0) & (equal.promoted < 0)).mean() > 0.5  # inconclusive


def test_delayed_labels_need_a_grace_and_the_sample_ratio_check_sees_its_lack() -> None:
    """Labels five minutes late carry the split of the weight before: unchecked, most bad challengers would pass."""
    setting = Setting(runs=300, minutes=400)
    unchecked = walk(Walk(srm_alpha=0.0), setting, 2.0, seed=17, label_delay=5.0)
    checked = walk(Walk(), setting, 2.0, seed=17, label_delay=5.0)
    graced = walk(Walk(), setting, 2.0, seed=17, label_delay=5.0, grace=25)
    assert (unchecked.promoted > 0).mean() > 0.3  # why the check is there
    assert (checked.promoted > 0).mean() <= 0.01
    assert (checked.mismatched > 0).mean() > 0.5
    assert at_most((graced.promoted > 0).mean(), 0.05, setting.runs)
    assert (graced.rolled_back > 0).mean() > 0.9
    assert (graced.mismatched > 0).mean() <= 0.02


def test_dependent_requests_break_the_guarantee_as_documented() -> None:
    """Sessions of ten requests, all bad or all good: ten times fewer facts than the counts say."""
    setting = Setting(runs=400)
    independent = e_processes()(sessions(setting, 1.0, 18, mean_length=1.0001), setting)
    dependent = e_processes()(sessions(setting, 1.0, 18, mean_length=10.0), setting)
    assert at_most(independent.rollback_rate, 0.05, setting.runs)
    assert dependent.rollback_rate > 0.10


@pytest.mark.parametrize("length", [3.0, 10.0])
def test_told_the_design_effect_the_budgets_hold_for_dependent_requests(length: float) -> None:
    """Geometric sizes: mean square over mean is twice the mean, less one."""
    setting = Setting(runs=400)
    policy = e_processes(design_effect=2 * length - 1)
    good, bad = (policy(sessions(setting, ratio, 19, mean_length=length), setting) for ratio in (1.0, 2.0))
    assert at_most(good.rollback_rate, 0.05, setting.runs)
    assert at_most(bad.promotion_rate, 0.05, setting.runs)
    if length == 3.0:  # with ten, two hours hold too few facts for most verdicts
        assert good.promotion_rate > 0.4
        assert bad.rollback_rate > 0.5


def test_the_fixed_test_needs_the_events_that_its_size_says() -> None:
    """The yardstick is the exact binomial test: its level and power are what it was made for."""
    setting = Setting(runs=2000)
    assert fixed_events(2.0, setting.share) == 152
    equal, double = (traffic(setting, ratio, seed=21) for ratio in (1.0, 2.0))
    assert at_most(fixed_test(2.0)(equal, setting).rollback_rate, 0.05, setting.runs)
    found = fixed_test(2.0)(double, setting)
    assert found.rollback_rate == pytest.approx(0.9, abs=0.03)
    assert set(events(double, found)) == {152}


def test_we_need_fewer_events_than_an_oracle_with_a_fixed_horizon() -> None:
    setting = Setting(runs=2000)
    counts = traffic(setting, 2.0, seed=22)
    assert events(counts, e_processes()(counts, setting)).mean() < 0.95 * fixed_events(2.0, setting.share)


def test_epochs_of_a_weight_multiply_and_a_drifting_base_rate_fools_nobody() -> None:
    """More of the traffic when more goes wrong: pooled counts blame the challenger, epochs do not."""
    setting = Setting(runs=1000)
    shares = (0.05,) * 60 + (0.5,) * 60
    base = np.linspace(0.01, 0.03, setting.minutes)
    counts = replace(traffic(setting, 1.0, 23, np.array(shares), base), shares=shares)
    assert [share for _, share in counts.epochs(setting)] == [0.05, 0.5]
    assert at_most(e_processes()(counts, setting).rollback_rate, 0.05, setting.runs)
    assert z_test()(counts, setting).rollback_rate > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("ratio", RATIOS)
def test_our_row_of_the_published_table(ratio: float) -> None:
    setting = Setting()
    result = e_processes()(traffic(setting, ratio, seed=20 + round(10 * ratio)), setting)
    back, forth, minutes = OURS[ratio]
    assert result.rollback_rate == pytest.approx(back, abs=margin_of_error(back, setting.runs))
    assert result.promotion_rate == pytest.approx(forth, abs=margin_of_error(forth, setting.runs))
    if minutes is not None:
        assert result.median_minutes == pytest.approx(minutes, abs=1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "runs", "published", "rates"),
    [
        (flagger(0.98), 4000, 4000, {1.0: 0.005, 1.5: 0.05, 2.0: 0.21, 3.0: 0.66, 5.0: 0.99}),
        (flagger(0.99), 4000, 4000, {1.0: 0.39, 1.5: 0.72, 2.0: 0.90, 3.0: 0.99, 5.0: 1.0}),
        (z_test(), 4000, 4000, {1.0: 0.36, 1.5: 0.99, 2.0: 1.0}),
        (z_test(at_end=True), 4000, 4000, {1.0: 0.057, 1.5: 0.98, 2.0: 1.0}),
        (kayenta(), 300, 300, {1.0: 0.0, 1.5: 0.09, 2.0: 0.55, 3.0: 0.997}),
        (kayenta(every=10), 300, 300, {1.0: 0.003, 1.5: 0.31, 2.0: 0.98}),
    ],
    ids=["flagger-98", "flagger-99", "z-every-minute", "z-once", "kayenta-once", "kayenta-every-10"],
)
def test_the_rows_of_the_field(policy, runs: int, published: int, rates: dict[float, float]) -> None:  # type: ignore[no-untyped-def]
    """The comparison is fair: policies built after the others' documents behave as published, too."""
    for ratio, rate in rates.items():
        setting = Setting(runs=runs)
        found = policy(traffic(setting, ratio, seed=40 + round(10 * ratio)), setting).rollback_rate
        assert found == pytest.approx(rate, abs=margin_of_error(rate, runs, published)), ratio


def test_the_peeked_z_test_breaks_its_budget_where_ours_does_not() -> None:
    setting = Setting(runs=500)
    counts = traffic(setting, 1.0, seed=60)
    assert z_test()(counts, setting).rollback_rate > 0.25
    assert e_processes()(counts, setting).rollback_rate < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "budget_of"), [(1.0, "rolled_back"), (2.0, "promoted")])
def test_the_machine_itself_keeps_the_budgets(ratio: float, budget_of: str) -> None:
    """Not the vectorised twin but `decision.machine.observe`, with all guard-rails, every look of 200 canaries."""
    runs = 200
    policy = ReleasePolicy(deadline_seconds=60.0, grace_seconds=0.0, label_grace_seconds=0.0)
    generator = np.random.default_rng(70)
    verdicts = []
    for _ in range(runs):
        state = machine.opened(machine.begin("r", "v1", "v2", policy), (Counts(), Counts()))
        totals = [Counts(), Counts()]
        for second in range(1, 62):
            own = int(generator.binomial(200, state.weight / 100))
            for index, (count, factor) in enumerate(((200 - own, 1.0), (own, ratio))):
                errors, slow, wrong = (int(generator.binomial(count, p)) for p in (0.01, 0.02, 0.08 * factor))
                totals[index] += Counts(count, errors, slow, count, wrong)
            state, found, _ = machine.observe(state, (totals[0], totals[1]), float(second), "ready")
            if found.action == "finish":
                break
            if found.action == "shift":
                state = machine.opened(state, (totals[0], totals[1]))
        verdicts.append(state.verdict)
    assert at_most(verdicts.count(budget_of) / runs, 0.05, runs)
    assert verdicts.count("promoted" if ratio == 1.0 else "rolled_back") / runs > 0.8
