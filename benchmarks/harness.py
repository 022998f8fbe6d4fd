"""The frame of every row: contenders take turns for several rounds, and what is told of them is a ratio.

How to add a row. In a module of `benchmarks/`, write a function that returns the contenders, and a tuple `ROWS` (the
command line finds it by that name, so heavy imports belong inside functions):

    def _contenders(setting: Setting) -> list[Contender]:
        size = 1 if setting.quick else 200
        return [
            Contender("chandlery", OURS, _commit(setting.scratch / "ours", size)),
            Contender("DVC", PEER, _dvc(setting.scratch / "dvc", size), {"dvc": "3.60.0"}),
            Contender("cp and sha256", LIMIT, _copy(setting.scratch / "copy", size)),
        ]

    ROWS = (
        Row(
            "commit-large-file", "commit and checkout of one 200 MB file",
            contenders=_contenders,
            figures=(Figure("commit", "s"), Figure("peak memory", "MiB")),
            aims=(
                Aim("commit", at_most=1 / 3, against="DVC", text=">= 3x as fast as DVC"),
                Aim("commit", at_most=2, against=NEAREST_LIMIT),
                Aim("peak memory", at_most=256),
            ),
            notes="What is counted, what is not; of an aim that is missed: by how much, why, and what would close it.",
        ),
    )

A contender's `open` is a context manager: it sets up (starts a server, writes files), yields a function that makes
ONE run and returns its figures by name, and tears down. The function is given the number of the round, 0 for the
warm-up, to take fresh names or seeds from. Where set-up belongs to each run, do it in the function and take the time
of the rest only. Where none is needed, `plain(function)` makes such a context manager of a function. Every wait in it has a
deadline, for the harness sets none. Peers live in environments of their own: `benchmarks.environment`.
"""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.machine import describe
from benchmarks.summary import Spread, ratios, spread

Figures = Mapping[str, float]
Run = Callable[[int], Figures]
Open = Callable[[], AbstractContextManager[Run]]
Role = Literal["ours", "peer", "limit"]

OURS: Role = "ours"
PEER: Role = "peer"
LIMIT: Role = "limit"
BEST_PEER = "the best peer"
NEAREST_LIMIT = "the nearest limit"
ROUNDS = 5


@dataclass(frozen=True)
class Setting:
    """How a row is to be measured.

    Attributes:
        scratch: an empty folder, removed afterwards.
        quick: one short round to see that it works; the figures mean nothing.
        rounds: rounds that are counted.
    """

    scratch: Path
    quick: bool
    rounds: int


@dataclass(frozen=True)
class Contender:
    """One that is measured.

    Attributes:
        name: of the contender, as in the table.
        role: ours (exactly one in a row), a peer, or a limit that nobody can beat.
        open: set-up, run function, tear-down; see the module.
        versions: of what it is made of, by package name.
    """

    name: str
    role: Role
    open: Open
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """What a run returns under this name.

    Attributes:
        name: of the figure.
        unit: as printed: s, ms, req/s, MiB, or empty for a share.
        more_is_better: as for rates; otherwise less is.
        ratio: a ratio says something; otherwise (shares near 0) the table has all contenders in one line.
    """

    name: str
    unit: str
    more_is_better: bool = False
    ratio: bool = True


@dataclass(frozen=True)
class Aim:
    """What should hold of a figure of ours: of its median, or of the median of its ratio to another contender.

    Attributes:
        figure: name of the figure.
        at_most: upper bound, or None.
        at_least: lower bound, or None.
        against: a contender's name, `BEST_PEER` or `NEAREST_LIMIT` (by median) for the ratio ours/theirs; empty for
            the figure itself.
        text: how the table tells it; empty: made of the bound.
    """

    figure: str
    at_most: float | None = None
    at_least: float | None = None
    against: str = ""
    text: str = ""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: as on the command line, lower case with dashes.
        title: what is measured, in a few words.
        contenders: makes them; may install peers.
        figures: what every run returns; a contender may leave out what it does not have.
        aims: what should hold.
        notes: what is counted; of a missed aim by how much, why, and what would close it.
        warm_up: make one run of each that is not counted.
    """

    name: str
    title: str
    contenders: Callable[[Setting], Sequence[Contender]]
    figures: Sequence[Figure]
    aims: Sequence[Aim] = ()
    notes: str = ""
    warm_up: bool = True


@dataclass(frozen=True)
class Measured:
    """What the rounds gave for one contender.

    Attributes:
        role: ours, peer or limit.
        versions: of what it is made of.
        rounds: figures of each round, in order.
        error: why it has not finished; empty when it has.
    """

    role: Role
    versions: Mapping[str, str]
    rounds: tuple[Figures, ...]
    error: str = ""

    def values(self, figure: str) -> list[float]:
        """Return a figure of every round that has it."""
        return [made[figure] for made in self.rounds if figure in made]


def plain(run: Callable[[], Figures]) -> Open:
    """Return the `open` of a contender without set-up or tear-down."""
    return per_round(lambda number: run())


def per_round(run: Run) -> Open:
    """Return the same of a function that is given the number of the round."""

    @contextmanager
    def opened() -> Iterator[Run]:
        yield run

    return opened


def measure(row: Row, rounds: int = ROUNDS, quick: bool = False) -> dict[str, Any]:
    """Measure one row, and return its entry of `results.json`.

    A contender that fails is left out of the rounds that follow, and its entry says why; the others go on.

    Args:
        row: what to measure.
        rounds: rounds that are counted.
        quick: one round without warm-up, and the row's own short form.

    Raises:
        Exception: the row itself cannot be set up.
    """
    began = datetime.now(UTC)
    machine = describe()
    rounds = 1 if quick else rounds
    with tempfile.TemporaryDirectory(prefix="chandlery-bench-") as scratch:
        contenders = list(row.contenders(Setting(Path(scratch), quick, rounds)))
        if [c.role for c in contenders].count(OURS) != 1:
            raise ValueError(f"{row.name}: exactly one contender is ours")
        measured = _take_turns(row, contenders, rounds, warm_up=row.warm_up and not quick)
    return {
        "title": row.title,
        "time": began.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - began).total_seconds(), 1),
        "machine": machine,
        "rounds": rounds,
        "figures": [asdict(figure) for figure in row.figures],
        "contenders": {name: _entry(row, m) for name, m in measured.items()},
        "ratios": _all_ratios(row, measured),
        "aims": [verdict(row, aim, measured) for aim in row.aims],
        "notes": row.notes,
    }


def verdict(row: Row, aim: Aim, measured: Mapping[str, Measured]) -> dict[str, Any]:
    """Say whether an aim holds: its text, against whom it was held, the value that counts, and `met` or why not."""
    figure = next(f for f in row.figures if f.name == aim.figure)
    against = _opponent(figure, aim.against, measured)
    ours = next(m for m in measured.values() if m.role == OURS)
    told = {"text": aim.text or _text(aim, figure), "figure": aim.figure, "against": against or aim.against}
    if aim.against and not against:
        return {**told, "value": None, "verdict": f"not measured: no figure of {aim.against}"}
    if against:
        values = ratios(ours.values(aim.figure), measured[against].values(aim.figure))
    else:
        values = ours.values(aim.figure)
    found = spread(values)
    if found is None:
        return {**told, "value": None, "verdict": f"missed: not measured ({ours.error or 'no figure'})"}
    value = found.median
    unit = "x" if against else f" {figure.unit}".rstrip()
    if aim.at_most is not None and value > aim.at_most:
        return {
            **told,
            "value": value,
            "verdict": f"missed: {value:.3g}{unit} is over {aim.at_most:.3g}{unit}",
        }
    if aim.at_least is not None and value < aim.at_least:
        return {
            **told,
            "value": value,
            "verdict": f"missed: {value:.3g}{unit} is under {aim.at_least:.3g}{unit}",
        }
    return {**told, "value": value, "verdict": "met"}


def _take_turns(
    row: Row, contenders: Sequence[Contender], rounds: int, *, warm_up: bool
) -> dict[str, Measured]:
    made: dict[str, list[Figures]] = {c.name: [] for c in contenders}
    errors: dict[str, str] = {}
    runs: dict[str, Run] = {}

    def attempt(contender: Contender, what: Callable[[], Any]) -> Any:
        if contender.name in errors:
            return None
        try:
            return what()
        except Exception as error:  # whatever a peer does wrong must not lose the others
            traceback.print_exc()
            errors[contender.name] = f"{type(error).__name__}: {error}"[:500]
            return None

    def close(contender: Contender, context: AbstractContextManager[Run]) -> None:
        try:
            context.__exit__(None, None, None)
        except Exception as error:
            traceback.print_exc()
            errors.setdefault(contender.name, f"{type(error).__name__}: {error}"[:500])

    with ExitStack() as stack:
        for contender in contenders:
            _say(row, f"setting up {contender.name}")

            def enter(contender: Contender = contender) -> Run:
                context = contender.open()
                run = context.__enter__()
                stack.callback(close, contender, context)
                return run

            runs[contender.name] = attempt(contender, enter)
        for number in range(0 if warm_up else 1, rounds + 1):
            for contender in contenders:
                if contender.name in errors:
                    continue
                _say(row, f"{f'round {number} of {rounds}' if number else 'warm-up'}: {contender.name}")
                one_run = partial(runs[contender.name], number)
                figures = attempt(contender, one_run)
                if number and figures is not None:
                    made[contender.name].append(dict(figures))
    return {
        c.name: Measured(c.role, c.versions, tuple(made[c.name]), errors.get(c.name, "")) for c in contenders
    }


def _opponent(figure: Figure, against: str, measured: Mapping[str, Measured]) -> str:
    """Return the name of the contender that an aim speaks of; empty when there is none with that figure."""
    if against not in (BEST_PEER, NEAREST_LIMIT):
        return against if against in measured and measured[against].values(figure.name) else ""
    role = PEER if against == BEST_PEER else LIMIT
    found = {n: spread(m.values(figure.name)) for n, m in measured.items() if m.role == role}
    medians = {name: s.median for name, s in found.items() if s is not None}
    if not medians:
        return ""
    # The nearest limit is the one that is hardest to reach least: the worst of them, and so the nearer to ours.
    best = max if figure.more_is_better == (role == PEER) else min
    return best(medians, key=lambda name: medians[name])


def _text(aim: Aim, figure: Figure) -> str:
    bound = f"<= {aim.at_most:g}" if aim.at_most is not None else f">= {aim.at_least:g}"
    return f"{bound}x {aim.against}" if aim.against else f"{bound} {figure.unit}".rstrip()


def _entry(row: Row, measured: Measured) -> dict[str, Any]:
    summary = {f.name: spread(measured.values(f.name)) for f in row.figures}
    return {
        "role": measured.role,
        "versions": dict(measured.versions),
        "rounds": [dict(figures) for figures in measured.rounds],
        "summary": {name: asdict(found) for name, found in summary.items() if found},
        "error": measured.error,
    }


def _all_ratios(row: Row, measured: Mapping[str, Measured]) -> dict[str, dict[str, dict[str, float]]]:
    """Return by contender and figure the spread of ours/theirs, pair by pair."""
    ours = next(m for m in measured.values() if m.role == OURS)
    told: dict[str, dict[str, dict[str, float]]] = {}
    for name, other in measured.items():
        if other.role == OURS:
            continue
        found = {f.name: spread(ratios(ours.values(f.name), other.values(f.name))) for f in row.figures}
        told[name] = {figure: asdict(s) for figure, s in found.items() if isinstance(s, Spread)}
    return told


def _say(row: Row, text: str) -> None:
    print(f"{row.name}: {text}", file=sys.stderr, flush=True)
