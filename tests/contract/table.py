"""The table of behaviours: what held in the embedded form, and what held in the real system."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from typing import Literal, NamedTuple

import pytest

Column = Literal["embedded", "real"]
COLUMNS: tuple[Column, ...] = ("embedded", "real")
SYSTEMS = {
    "data": "Versioned data",
    "search": "Search",
    "resources": "Custom resources",
    "registry": "Registry",
    "deployments": "Deployments",
    "inference": "Inference server",
}
# A cell of several tests (parameters, phases) shows the first of these that any of them came to.
RANKS = ("FAILED", "differs (stated)", "ok", "not run")
ABSENT = "-"
WIDTH = 96  # of the first column as text


class Place(NamedTuple):
    """Where a test stands in the table; plain values, because it travels between processes."""

    system: str
    file: str
    line: int
    behaviour: str
    column: Column


class Row(NamedTuple):
    """One behaviour; a cell is what came of it and the number of a note, or 0."""

    behaviour: str
    cells: tuple[tuple[str, int], ...]


class Table:
    """Outcomes as they come in, and the table that they make."""

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, str, int, str], dict[Column, dict[str, str]]] = {}

    def add(self, place: Place, report: pytest.TestReport) -> None:
        """Take in what one phase of a test came to."""
        outcome, reason = _outcome(report)
        if outcome:
            row = self._outcomes.setdefault(place[:-1], {})
            row.setdefault(place.column, {}).setdefault(outcome, reason)

    def text(self) -> str:
        """The table as it is printed."""
        lines = []
        for title, rows in self._sections():
            lines += ["", f"{title:<{WIDTH}}  {'embedded':<20}  real"]
            for row in rows:
                words = row.behaviour if len(row.behaviour) <= WIDTH else row.behaviour[: WIDTH - 1] + "…"
                embedded, real = (_shown(cell) for cell in row.cells)
                lines.append(f"{words:<{WIDTH}}  {embedded:<20}  {real}")
        lines += ["", *(f"[{number}] {reason}" for reason, number in self._notes().items())]
        lines += ["", *(f"{name}: {counts}" for name, counts in self._counts())]
        return "\n".join(lines).strip("\n")

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = []
        for title, rows in self._sections():
            lines += [f"## {title}", "", "| behaviour | embedded | real |", "|---|---|---|"]
            for row in rows:
                words = row.behaviour.replace("|", "\\|").replace("<", "&lt;")
                lines.append(f"| {words} | " + " | ".join(_shown(cell) for cell in row.cells) + " |")
            lines.append("")
        lines += [f"- [{number}] {reason}" for reason, number in self._notes().items()]
        lines += ["", *(f"- {name}: {counts}" for name, counts in self._counts())]
        return "\n".join(lines).strip("\n") + "\n"

    def _sections(self) -> Iterator[tuple[str, list[Row]]]:
        notes = self._notes()
        systems = sorted({key[0] for key in self._outcomes}, key=lambda s: ([*SYSTEMS, s].index(s), s))
        for system in systems:
            rows = []
            for key in sorted(key for key in self._outcomes if key[0] == system):
                cells = (_cell(self._outcomes[key].get(column, {})) for column in COLUMNS)
                rows.append(Row(key[3], tuple((outcome, notes.get(reason, 0)) for outcome, reason in cells)))
            yield SYSTEMS.get(system, system.capitalize()), rows

    def _notes(self) -> dict[str, int]:
        reasons: dict[str, int] = {}
        for key in sorted(self._outcomes):
            for column in COLUMNS:
                _, reason = _cell(self._outcomes[key].get(column, {}))
                if reason:
                    reasons.setdefault(reason, len(reasons) + 1)
        return reasons

    def _counts(self) -> Iterator[tuple[str, str]]:
        for number, column in enumerate(COLUMNS):
            counts = Counter(row.cells[number][0] for _, rows in self._sections() for row in rows)
            yield column, ", ".join(f"{counts[outcome]} {outcome}" for outcome in RANKS if counts[outcome])


def column_of(item: pytest.Item) -> Column:
    """Return the column of a test: `real` when it carries that mark."""
    return "real" if item.get_closest_marker("real") else "embedded"


def place_of(item: pytest.Item) -> Place:
    """Return where a test stands."""
    function = getattr(item, "function", None)
    name = getattr(item, "originalname", None) or item.name
    words = name.removeprefix("test_").replace("_", " ")
    if written := inspect.getdoc(function):
        words = written.splitlines()[0].rstrip(".")
    if container := getattr(item, "cls", None):
        words = f"{_split(container.__name__.removeprefix('Test'))}: {words}"
    return Place(item.path.parent.name, item.path.name, item.location[1] or 0, words, column_of(item))


def _split(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def _outcome(report: pytest.TestReport) -> tuple[str, str]:
    """Return what a phase of a test came to, "" when that says nothing yet, and why."""
    if report.failed:
        return "FAILED", ""
    if hasattr(report, "wasxfail"):
        return "differs (stated)", report.wasxfail.removeprefix("reason: ")
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return "not run", reason.removeprefix("Skipped: ")
    return ("ok", "") if report.when == "call" else ("", "")


def _cell(outcomes: dict[str, str]) -> tuple[str, str]:
    for outcome in RANKS:
        if outcome in outcomes:
            return outcome, outcomes[outcome]
    return ABSENT, ""


def _shown(cell: tuple[str, int]) -> str:
    outcome, note = cell
    return f"{outcome} [{note}]" if note else outcome
