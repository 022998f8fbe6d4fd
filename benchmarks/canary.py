"""Releases decided by us and by others on the same simulated traffic: how often wrongly, and on how many events.

Each round draws 10,000 releases for every cell: a rate ratio of the challenger, and a kind of traffic.

- steady: 600 requests a minute, the challenger at 10 %, 1 % of the champion's answers bad, two hours.
- changing weights: the challenger at 5, 25 and 50 % for 40 minutes each, while the base rate doubles meanwhile.
- delayed labels: the same, and each answer is judged a geometric time later, five minutes on average.
- bursts: steady, but requests come in sessions of ten on average, each with one variant and all bad or all good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks.harness import OURS, PEER, Aim, Contender, Figure, Open, Row, Setting, per_round

if TYPE_CHECKING:
    from benchmarks.canary_simulation.simulate import Policy, Traffic
    from benchmarks.canary_simulation.simulate import Setting as World

RELEASES = 10_000
RATIOS = (1.0, 1.5, 2.0, 3.0, 5.0)
KINDS = ("steady", "changing weights", "delayed labels", "bursts")
WEIGHTS = (0.05,) * 40 + (0.25,) * 40 + (0.5,) * 40
DELAY_MINUTES = 5.0
LABEL_GRACE_MINUTES = 25
SESSION = 10.0
DESIGN_EFFECT = 2 * SESSION - 1  # of geometric sizes: mean square over mean
TOLD = "told the design effect, "
BUDGET = 0.05
ORACLE = "fixed horizon, oracle"


@dataclass(frozen=True)
class Cell:
    """One kind of traffic at one rate ratio: its name says which decision is looked at, for it is the wrong one."""

    kind: str
    ratio: float

    @property
    def figure(self) -> str:
        """Name of its figure: a rollback of a good challenger, the promotion of a bad one, or (1.5) a rollback."""
        what = "false rollback" if self.ratio == 1 else "rollback" if self.ratio < 2 else "false promotion"
        return f"{self.kind}: {what} at ratio {self.ratio:g}"

    @property
    def events(self) -> str:
        """Name of the figure of the mean number of bad events until the decision."""
        return f"{self.kind}: events at ratio {self.ratio:g}"


CELLS = tuple(Cell("steady", ratio) for ratio in RATIOS) + tuple(
    Cell(kind, ratio) for kind in KINDS[1:] for ratio in (1.0, 2.0)
)


def _contenders(setting: Setting) -> list[Contender]:
    from benchmarks.canary_simulation.simulate import e_processes, fixed_test, flagger, kayenta, z_test

    runs = 200 if setting.quick else RELEASES
    peers: dict[str, Callable[[Cell], Policy]] = {
        ORACLE: lambda cell: fixed_test(cell.ratio if cell.ratio > 1 else 2.0),
        "Flagger-like, limit 98 %": lambda cell: flagger(0.98),
        "Flagger-like, limit 99 %": lambda cell: flagger(0.99),
        "Kayenta-like, once": lambda cell: kayenta(),
        "Kayenta-like, every 10 min": lambda cell: kayenta(every=10),
        "z-test, every minute": lambda cell: z_test(),
    }
    ours = Contender("chandlery", OURS, _judged(lambda cell: e_processes(), runs, ours=True), _versions())
    return [ours, *(Contender(name, PEER, _judged(policy, runs)) for name, policy in peers.items())]


def _judged(policy: Callable[[Cell], Policy], runs: int, *, ours: bool = False) -> Open:
    return per_round(lambda number: dict(_figures(policy, runs, number, ours=ours)))


def _figures(
    policy: Callable[[Cell], Policy], runs: int, number: int, *, ours: bool
) -> Iterator[tuple[str, float]]:
    from benchmarks.canary_simulation.simulate import Setting as World
    from benchmarks.canary_simulation.simulate import e_processes, events

    world = World(runs=runs)
    for index, cell in enumerate(CELLS):
        # The same releases for every contender of a round, others in the next.
        counts = _traffic(cell, world, seed=1000 * number + index)
        if ours and cell.kind == "delayed labels":
            counts = _graced(counts)
        result = policy(cell)(counts, world)
        wrong = result.rollback_rate if cell.ratio < 2 else result.promotion_rate
        yield cell.figure, wrong
        if cell.kind == "steady":
            yield cell.events, float(events(counts, result).mean())
        if ours and cell.kind == "bursts":
            told = e_processes(design_effect=DESIGN_EFFECT)(counts, world)
            yield TOLD + cell.figure, told.rollback_rate if cell.ratio < 2 else told.promotion_rate
    if ours:
        yield from _walks(runs, number)


def _walks(runs: int, number: int) -> Iterator[tuple[str, float]]:
    """The walk as the product does it, through 5, 25 and 50 %: weights change as the evidence allows."""
    from benchmarks.canary_simulation.simulate import Setting as World
    from benchmarks.canary_simulation.simulate import Walk, walk

    world = World(runs=runs, minutes=240)
    for name, delay, grace in (
        ("walk", 0.0, 0),
        ("walk, delayed labels", DELAY_MINUTES, LABEL_GRACE_MINUTES),
    ):
        good = walk(Walk(), world, 1.0, 1000 * number + 500, label_delay=delay, grace=grace)
        bad = walk(Walk(), world, 2.0, 1000 * number + 501, label_delay=delay, grace=grace)
        yield f"{name}: false rollback at ratio 1", float((good.rolled_back > 0).mean())
        yield f"{name}: false promotion at ratio 2", float((bad.promoted > 0).mean())


def _traffic(cell: Cell, world: World, seed: int) -> Traffic:
    import numpy as np

    from benchmarks.canary_simulation.simulate import sessions, traffic

    if cell.kind == "steady":
        return traffic(world, cell.ratio, seed)
    if cell.kind == "bursts":
        return sessions(world, cell.ratio, seed, SESSION)
    base = world.base * np.linspace(1.0, 2.0, world.minutes)
    counts = traffic(world, cell.ratio, seed, np.array(WEIGHTS), base)
    counts = replace(counts, shares=WEIGHTS)
    return _delayed(counts, seed + 1) if cell.kind == "delayed labels" else counts


def _delayed(counts: Traffic, seed: int) -> Traffic:
    """Show each answer's truth a geometric number of minutes later: judged answers are all that a policy sees."""
    import numpy as np

    generator = np.random.default_rng(seed)
    known = 1.0 / (1.0 + DELAY_MINUTES)

    def shown(happened: np.ndarray) -> np.ndarray:
        found, waiting = np.zeros_like(happened), np.zeros(len(happened), dtype=int)
        for minute in range(happened.shape[1]):
            waiting = waiting + happened[:, minute]
            found[:, minute] = generator.binomial(waiting, known)
            waiting = waiting - found[:, minute]
        return found

    bad, champion_bad = shown(counts.bad), shown(counts.champion_bad)
    return replace(
        counts,
        bad=bad,
        champion_bad=champion_bad,
        requests=bad + shown(counts.requests - counts.bad),
        champion_requests=champion_bad + shown(counts.champion_requests - counts.champion_bad),
    )


def _graced(counts: Traffic) -> Traffic:
    """Drop the labels of the minutes after each change of weight, as `label_grace_seconds` does."""
    import numpy as np

    changes = [0] + [i for i in range(1, len(WEIGHTS)) if WEIGHTS[i] != WEIGHTS[i - 1]]
    kept = np.ones(len(WEIGHTS), dtype=int)
    for change in changes[1:]:
        kept[change : change + LABEL_GRACE_MINUTES] = 0
    return replace(
        counts,
        bad=counts.bad * kept,
        champion_bad=counts.champion_bad * kept,
        requests=counts.requests * kept,
        champion_requests=counts.champion_requests * kept,
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("chandlery", "numpy", "scipy")}


_WALKS = tuple(
    f"{name}: {what}"
    for name in ("walk", "walk, delayed labels")
    for what in ("false rollback at ratio 1", "false promotion at ratio 2")
)
_TOLD = tuple(TOLD + cell.figure for cell in CELLS if cell.kind == "bursts")
_WRONG = tuple(cell.figure for cell in CELLS if cell.ratio in (1.0, 2.0)) + _WALKS + _TOLD

ROWS = (
    Row(
        "canary",
        "wrong decisions of simulated releases, looked at every minute, and bad events until the decision",
        _contenders,
        tuple(Figure(cell.figure, "", more_is_better=cell.ratio == 1.5, ratio=False) for cell in CELLS)
        + tuple(Figure(name, "", ratio=False) for name in (*_WALKS, *_TOLD))
        + tuple(Figure(cell.events, "events") for cell in CELLS if cell.kind == "steady"),
        (
            *(Aim(name, at_most=BUDGET, text="<= 5 %") for name in _WRONG),
            Aim(Cell("steady", 2.0).events, at_most=0.9, against=ORACLE),
        ),
        notes=f"Shares of {RELEASES:,} releases a cell and round; the same ones for every contender. The oracle knows the ratio "
        "and takes the exact one-sided binomial test (5 %, power 90 %) once, after the number of bad events that it "
        "needs. Flagger-like, Kayenta-like and the z-test promote what they have not rolled back at their horizon. "
        "Delayed labels: ours discards the labels of 25 minutes after a change of weight, as `label_grace_seconds` tells "
        "it. The walk is ours alone: weights go on as the evidence allows. Bursts break the assumption of independent "
        "requests: ours keeps its budgets when it is told the design effect (docs/canary.md).",
        warm_up=False,
    ),
)
