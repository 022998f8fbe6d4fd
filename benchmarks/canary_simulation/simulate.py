"""Simulated canaries: our decisions beside those of the field, on the same traffic, thousands of runs at once.

The setting of the published table: 600 requests a minute, a challenger at 10 %, base rate of bad events 1 %, looked
at every minute for two hours. `ratio` is the challenger's rate of bad events over the champion's: 1 is a good
challenger, the margin (2) and above are bad ones.

    python -m benchmarks.canary_simulation.simulate            prints the table
    python -m benchmarks.canary_simulation.simulate FIGURE.svg draws it
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import binom

from benchmarks.canary_simulation.result import Counts, Result
from chandlery.canary.decision import evalue, sample_ratio

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

RATIOS = (1.0, 1.5, 2.0, 3.0, 5.0)
NEVER = -1
_AT_ONCE = 2_000_000  # differences of rates held in memory together


@dataclass(frozen=True)
class Setting:
    """The world that is simulated.

    Attributes:
        per_minute: requests a minute, both variants.
        share: the challenger's share of traffic.
        base: the champion's rate of bad events.
        minutes: horizon.
        runs: number of simulated canaries.
    """

    per_minute: int = 600
    share: float = 0.10
    base: float = 0.01
    minutes: int = 120
    runs: int = 4000


@dataclass(frozen=True)
class Traffic:
    """Counts per minute, shape (runs, minutes).

    Attributes:
        requests: of the challenger.
        bad: bad events among these.
        champion_requests: of the champion.
        champion_bad: bad events among these.
        shares: the challenger's share in each minute, shape (minutes,); empty: the setting's all the time.
    """

    requests: Counts
    bad: Counts
    champion_requests: Counts
    champion_bad: Counts
    shares: tuple[float, ...] = ()

    def epochs(self, setting: Setting) -> list[tuple[slice, float]]:
        """Return the stretches of minutes under one share, and that share."""
        shares = self.shares or (setting.share,) * setting.minutes
        edges = [i for i in range(1, len(shares)) if shares[i] != shares[i - 1]]
        return [(slice(a, b), shares[a]) for a, b in zip([0, *edges], [*edges, len(shares)], strict=True)]


Policy = Callable[[Traffic, Setting], Result]


def traffic(
    setting: Setting,
    ratio: float,
    seed: int,
    share: Floats | float | None = None,
    base: Floats | float | None = None,
) -> Traffic:
    """Draw counts: each request goes to the challenger with the share, and is bad with its variant's rate.

    Args:
        setting: the world.
        ratio: rate ratio of the challenger.
        seed: of the draw.
        share: share by run and minute, when it is not constant.
        base: the champion's rate of bad events, likewise.
    """
    rate = setting.base if base is None else base
    generator = np.random.default_rng(seed)
    shape = (setting.runs, setting.minutes)
    requests = generator.binomial(setting.per_minute, setting.share if share is None else share, shape)
    others = setting.per_minute - requests
    return Traffic(
        requests=requests,
        bad=generator.binomial(requests, np.minimum(1.0, np.multiply(rate, ratio))),
        champion_requests=others,
        champion_bad=generator.binomial(others, rate),
    )


def e_processes(
    alpha: float = 0.05, beta: float = 0.05, margin: float = 2.0, design_effect: float = 1.0
) -> Policy:
    """Return our policy: two e-processes, looked at every minute; those of the epochs of a weight multiply.

    Args:
        alpha: rollback budget.
        beta: promotion budget.
        margin: rate ratio to exclude.
        design_effect: requests that make one independent fact.
    """
    together = design_effect

    def against_equal(bad: Counts, total: Counts, share: float) -> Floats:
        return evalue.log_rollback(bad / together, total / together, share)

    def against_margin(bad: Counts, total: Counts, share: float) -> Floats:
        return evalue.log_promote(bad / together, total / together, share, margin)

    def decide(counts: Traffic, setting: Setting) -> Result:
        against, in_favour = np.zeros((2, *counts.bad.shape))
        for minutes, share in counts.epochs(setting):
            bad = np.cumsum(counts.bad[:, minutes], axis=1)
            total = bad + np.cumsum(counts.champion_bad[:, minutes], axis=1)
            for logs, log_e in ((against, against_equal), (in_favour, against_margin)):
                found = _each_once(partial(log_e, share=share), bad, total)
                logs[:, minutes] += found
                logs[:, minutes.stop :] += found[:, -1:]
        return first(against >= math.log(1 / alpha), in_favour >= math.log(1 / beta))

    return decide


def _each_once(log_e: Callable[[Counts, Counts], Floats], bad: Counts, total: Counts) -> Floats:
    """Return `log_e(bad, total)`, each pair of counts worked out once: thousands of runs share few pairs."""
    width = int(total.max(initial=0)) + 1
    pairs, where = np.unique(bad * width + total, return_inverse=True)
    return np.asarray(log_e(pairs // width, pairs % width)[where.reshape(bad.shape)])


def fixed_test(ratio: float, alpha: float = 0.05, power: float = 0.9) -> Policy:
    """Return the test of an oracle that knows the rate ratio: one look, after as many bad events as it takes.

    One-sided exact binomial test of the challenger's bad events among all; what it does not reject, it promotes.

    Args:
        ratio: the ratio that it is made for, > 1.
        alpha: level.
        power: probability of a rollback at that ratio.
    """

    def decide(counts: Traffic, setting: Setting) -> Result:
        needed = fixed_events(ratio, setting.share, alpha, power)
        bad = np.cumsum(counts.bad, axis=1)
        total = bad + np.cumsum(counts.champion_bad, axis=1)
        runs = np.arange(len(bad))
        minute = (total >= needed).argmax(axis=1)
        done = total[:, -1] >= needed
        # It looks within the minute, at the very event: those of the minute came in any order.
        of_minute, champions = counts.bad[runs, minute], counts.champion_bad[runs, minute]
        before = (bad[runs, minute] - of_minute, total[runs, minute] - of_minute - champions)
        sample = np.clip(needed - before[1], 0, of_minute + champions)
        generator = np.random.default_rng(needed)
        hits = before[0] + generator.hypergeometric(of_minute, champions, sample)
        rejected = hits > binom.ppf(1 - alpha, needed, setting.share)
        return Result(
            np.where(done & rejected, minute + 1, NEVER),
            np.where(done & ~rejected, minute + 1, NEVER),
            np.full(len(bad), needed),
        )

    return decide


def fixed_events(ratio: float, share: float, alpha: float = 0.05, power: float = 0.9) -> int:
    """Return the least number of bad events with which the exact one-sided test has its power."""
    theta = float(evalue.event_share(share, ratio))
    sizes = np.arange(1, 20_000)
    enough = binom.sf(binom.ppf(1 - alpha, sizes, share), sizes, theta) >= power
    return int(sizes[np.asarray(enough).argmax()])


def events(counts: Traffic, result: Result) -> Counts:
    """Return how many bad events of both variants each run had seen when it was decided, or at the horizon."""
    if result.events.size:
        return result.events
    total = np.cumsum(counts.bad + counts.champion_bad, axis=1)
    minute = np.maximum(result.rolled_back, result.promoted)
    return np.asarray(total[np.arange(len(total)), np.where(minute > 0, minute, total.shape[1]) - 1])


def flagger(limit: float, threshold: int = 5) -> Policy:
    """Return a policy as Flagger's: a fixed success rate per minute; `threshold` failed or passed checks decide.

    Args:
        limit: success rate below which a check fails.
        threshold: checks that decide.
    """

    def decide(counts: Traffic, setting: Setting) -> Result:
        del setting
        with np.errstate(invalid="ignore", divide="ignore"):
            success = 1 - counts.bad / counts.requests
        failed = np.cumsum(success < limit, axis=1)
        passed = np.cumsum(~(success < limit), axis=1)
        return first(failed >= threshold, passed >= threshold)

    return decide


def z_test(alpha: float = 0.05, every: int = 1, at_end: bool = False) -> Policy:
    """Return a one-sided two-proportion z-test: looked at again and again, or once at the horizon."""

    def decide(counts: Traffic, setting: Setting) -> Result:
        del setting
        score = z_score(counts)
        alarm = score >= ndtri(1 - alpha)
        minutes = np.arange(1, alarm.shape[1] + 1)
        looked = minutes == alarm.shape[1] if at_end else minutes % every == 0
        alarm = alarm & looked
        end = np.zeros_like(alarm)
        end[:, -1] = True  # what has not alarmed by the horizon is promoted
        return first(alarm, end)

    return decide


def kayenta(tolerance: float = 0.25, confidence: float = 0.98, points: int = 50, every: int = 0) -> Policy:
    """Return Kayenta's Mann-Whitney judgement of the per-minute rates: once after `points` minutes, or repeatedly.

    High when the confidence interval of the location shift lies above `tolerance` times its estimate, as in
    Spinnaker's MannWhitneyClassifier.

    Args:
        tolerance: fraction of the estimate.
        confidence: of the two-sided interval.
        points: minutes judged together, when once.
        every: judge after each so many minutes, all minutes so far; 0: once.
    """

    def decide(counts: Traffic, setting: Setting) -> Result:
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = np.nan_to_num(counts.bad / counts.requests)
        champion_rate = counts.champion_bad / counts.champion_requests
        looks = range(every, setting.minutes + 1, every) if every else (points,)
        alarm = np.zeros(counts.bad.shape, dtype=bool)
        end = np.zeros_like(alarm)
        open_runs = np.arange(len(rate))  # those without an alarm so far
        for minute in looks:
            for some in np.array_split(open_runs, 1 + len(open_runs) * minute**2 // _AT_ONCE):
                low, estimate = _shift(rate[some, :minute], champion_rate[some, :minute], confidence)
                alarm[some, minute - 1] = low > tolerance * np.abs(estimate)
            open_runs = open_runs[~alarm[open_runs, minute - 1]]
        end[:, (looks[-1]) - 1] = True
        return first(alarm, end)

    return decide


def z_score(counts: Traffic) -> Floats:
    """Return the pooled two-proportion z statistic of the counts so far, positive when the challenger is worse."""
    a, n = np.cumsum(counts.bad, axis=1), np.cumsum(counts.requests, axis=1)
    b, m = np.cumsum(counts.champion_bad, axis=1), np.cumsum(counts.champion_requests, axis=1)
    pooled = (a + b) / (n + m)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = (a / n - b / m) / np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return np.asarray(np.nan_to_num(score))


def first(against: Flags, in_favour: Flags) -> Result:
    """Return the first decision of each run; a rollback goes first where both come at once."""
    minute_against = np.where(against.any(axis=1), against.argmax(axis=1) + 1, 10**9)
    minute_for = np.where(in_favour.any(axis=1), in_favour.argmax(axis=1) + 1, 10**9)
    back = (minute_against <= minute_for) & (minute_against < 10**9)
    forth = ~back & (minute_for < 10**9)
    return Result(np.where(back, minute_against, NEVER), np.where(forth, minute_for, NEVER))


@dataclass(frozen=True)
class Walk:
    """A walk through weights, as the loop does it.

    Attributes:
        weights: percent, without the final 100.
        minimum: judged answers of the challenger at each weight.
        alpha: rollback budget.
        beta: promotion budget.
        margin: rate ratio to exclude.
        srm_alpha: budget of the sample-ratio checks of requests and labels; 0: not made.
    """

    weights: tuple[int, ...] = (5, 25, 50)
    minimum: int = 300
    alpha: float = 0.05
    beta: float = 0.05
    margin: float = 2.0
    srm_alpha: float = 0.001


@dataclass(frozen=True)
class WalkResult:
    """What a walk decided: minutes as in `Result`, and where the sample-ratio check alarmed."""

    rolled_back: Counts
    promoted: Counts
    mismatched: Counts


def walk(
    plan: Walk, setting: Setting, ratio: float, seed: int, *, label_delay: float = 0.0, grace: int = 0
) -> WalkResult:
    """Simulate walks through the weights, all runs at once, looked at after every minute.

    Args:
        plan: the weights and budgets.
        setting: the world; its share is not used.
        ratio: rate ratio of the challenger.
        seed: of the draw.
        label_delay: mean of the geometric delay after which an answer is judged, minutes; 0: at once.
        grace: minutes after a weight change whose labels are dropped.
    """
    generator = np.random.default_rng(seed)
    runs = setting.runs
    weights = np.array(plan.weights) / 100
    rates = np.array([[min(1.0, setting.base * ratio)], [setting.base]])  # challenger, champion
    stage, since = np.zeros(runs, dtype=int), np.zeros(runs, dtype=int)
    # Of the epoch under way, challenger and champion: requests, judged answers, bad ones among these.
    requests, judged, bad = (np.zeros((2, runs), dtype=int) for _ in range(3))
    pending_good, pending_bad = np.zeros((2, runs), dtype=int), np.zeros((2, runs), dtype=int)
    past, now = np.zeros((4, runs)), np.zeros((4, runs))  # log e-values of the epochs before, and of this one
    proven = np.zeros(runs, dtype=bool)
    ended = np.full((3, runs), NEVER)
    known = 1.0 / (1.0 + label_delay)
    limit = math.log(2 / plan.srm_alpha) if plan.srm_alpha else math.inf
    for minute in range(1, setting.minutes + 1):
        live = (ended == NEVER).all(axis=0)
        if not live.any():
            break
        share = weights[stage]
        own = generator.binomial(setting.per_minute, share)
        arrived = np.stack([own, setting.per_minute - own])
        spoilt = generator.binomial(arrived, rates)
        pending_bad, pending_good = pending_bad + spoilt, pending_good + arrived - spoilt
        shown_bad, shown_good = (
            generator.binomial(pending_bad, known),
            generator.binomial(pending_good, known),
        )
        pending_bad, pending_good = pending_bad - shown_bad, pending_good - shown_good
        clean = since >= grace
        since += 1
        requests += arrived
        judged += (shown_bad + shown_good) * clean
        bad += shown_bad * clean
        now[:, live] = _walk_evidence(
            requests[:, live], judged[:, live], bad[:, live], share[live], plan.margin
        )
        against, in_favour, mismatch, label_mismatch = past + now
        proven |= in_favour >= math.log(1 / plan.beta)
        unequal = live & (np.maximum(mismatch, label_mismatch) >= limit)
        back = live & ~unequal & (against >= math.log(1 / plan.alpha))
        held = (judged[0] >= plan.minimum) & (against <= math.log(1 / plan.alpha) / 2)
        last = stage == len(weights) - 1
        forth = live & ~unequal & ~back & held & last & proven
        for index, which in enumerate((back, forth, unequal)):
            ended[index][which] = minute
        shift = live & ~unequal & ~back & held & ~last
        past[:, shift] += now[:, shift]
        for counter in (requests, judged, bad):
            counter[:, shift] = 0
        since[shift] = 0
        stage[shift] += 1
    return WalkResult(*ended)


def _walk_evidence(requests: Counts, judged: Counts, bad: Counts, share: Floats, margin: float) -> Floats:
    return np.stack(
        [
            evalue.log_rollback(bad[0], bad.sum(axis=0), share),
            evalue.log_promote(bad[0], bad.sum(axis=0), share, margin),
            sample_ratio.log_mismatch(requests[0], requests.sum(axis=0), share),
            sample_ratio.log_mismatch(judged[0], judged.sum(axis=0), share),
        ]
    )


def sessions(setting: Setting, ratio: float, seed: int, mean_length: float) -> Traffic:
    """Draw traffic whose requests are not independent: bad events come in bursts of one session.

    Each session lies with one variant, as a sticky user does, and its requests are all bad or all good.

    Args:
        setting: the world; `per_minute` requests on average.
        ratio: rate ratio of the challenger.
        seed: of the draw.
        mean_length: mean number of requests of a session, geometric.
    """
    generator = np.random.default_rng(seed)
    shape = (setting.runs, setting.minutes)
    count = round(setting.per_minute / mean_length)
    own = generator.binomial(count, setting.share, shape)
    theirs = count - own

    def lengths(number: Counts) -> Counts:
        # A sum of geometric lengths: at least one request each, negative binomial above that.
        extra = generator.negative_binomial(np.maximum(number, 1), 1 / mean_length)
        return np.asarray(np.where(number > 0, number + extra, 0))

    bad_own = generator.binomial(own, min(1.0, setting.base * ratio))
    bad_theirs = generator.binomial(theirs, setting.base)
    bad, champion_bad = lengths(bad_own), lengths(bad_theirs)
    return Traffic(
        requests=bad + lengths(own - bad_own),
        bad=bad,
        champion_requests=champion_bad + lengths(theirs - bad_theirs),
        champion_bad=champion_bad,
    )


def policies() -> dict[str, tuple[Policy, int]]:
    """Return the policies of the table by name, each with the number of runs it is worth simulating."""
    return {
        "Flagger, limit 98 %": (flagger(0.98), 4000),
        "Flagger, limit 99 %": (flagger(0.99), 4000),
        "z-test, every minute": (z_test(), 4000),
        "z-test, once at 120 min": (z_test(at_end=True), 4000),
        "Kayenta, once at 50 min": (kayenta(), 300),
        "Kayenta, every 10 min": (kayenta(every=10), 300),
        "e-processes, margin 2": (e_processes(), 4000),
    }


def table(seed: int = 0, ratios: tuple[float, ...] = RATIOS) -> dict[str, dict[float, Result]]:
    """Return the results of every policy at every rate ratio."""
    found: dict[str, dict[float, Result]] = {}
    for name, (policy, runs) in policies().items():
        setting = Setting(runs=runs)
        found[name] = {
            ratio: policy(traffic(setting, ratio, seed + index), setting)
            for index, ratio in enumerate(ratios)
        }
    return found


def _shift(one: Floats, other: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Return the lower end of the Hodges-Lehmann interval of `one - other`, and the estimate, for each run."""
    n, m = one.shape[1], other.shape[1]
    spread = float(ndtri((1 + confidence) / 2)) * math.sqrt(n * m * (n + m + 1) / 12)
    rank, middle, after = max(0, math.floor(n * m / 2 - spread)), (n * m - 1) // 2, n * m // 2
    differences = (one[:, :, None] - other[:, None, :]).reshape(one.shape[0], n * m)
    differences.partition(sorted({rank, middle, after}), axis=1)
    return differences[:, rank], (differences[:, middle] + differences[:, after]) / 2


def _main(arguments: list[str]) -> None:
    results = table()
    print("| P(rollback) / P(promotion), median minutes | " + " | ".join(f"r={r:g}" for r in RATIOS) + " |")
    print("|---" * (1 + len(RATIOS)) + "|")
    for name, row in results.items():
        cells = [
            f"{r.rollback_rate:.3f}/{r.promotion_rate:.3f} ({r.median_minutes:.0f})" for r in row.values()
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")
    if arguments:
        from benchmarks.canary_simulation.figure import draw

        draw(results, arguments[0])


if __name__ == "__main__":
    import sys

    _main(sys.argv[1:])
