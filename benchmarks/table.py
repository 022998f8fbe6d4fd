"""`results.json` as a page to read: one table of ratios, then what was measured on what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Entry = Mapping[str, Any]

HEAD = ("what", "ours", "beside", "theirs", "ours/theirs", "aim")


def page(results: Mapping[str, Entry]) -> str:
    """Return the Markdown page of all rows that were measured."""
    rows = {name: entry for name, entry in results.items() if "contenders" in entry}
    parts = [
        "# Benchmarks",
        "Made by `make bench` (`python -m benchmarks [ROW ...]`); do not edit. Contenders take turns; a figure is its median "
        "with least and greatest in brackets, and ours/theirs the same of the ratio, round by round.",
        table(rows),
        *(_notes(name, entry) for name, entry in rows.items()),
    ]
    return "\n\n".join(parts) + "\n"


def table(rows: Mapping[str, Entry]) -> str:
    """Return one Markdown table of all rows: a line for each figure and each contender beside ours."""
    lines = [_line(HEAD), _line(("---",) * len(HEAD))]
    for name, entry in rows.items():
        lines.extend(_line(cells) for cells in _cells(name, entry))
    return "\n".join(lines)


def _cells(name: str, entry: Entry) -> Iterator[tuple[str, ...]]:
    if entry.get("error"):
        yield name, f"failed: {_flat(entry['error'])}", "", "", "", ""
        return
    contenders = entry["contenders"]
    ours = next(c for c in contenders.values() if c["role"] == "ours")
    others = {n: c for n, c in contenders.items() if c["role"] != "ours"}
    for other, contender in others.items():
        if contender["error"]:
            yield name, "", other, f"failed: {_flat(contender['error'])}", "", ""
    for figure in entry["figures"]:
        what, unit = f"{name}: {figure['name']}", figure["unit"]
        mine = ours["summary"].get(figure["name"])
        told = _spread(mine, unit) if mine else f"failed: {_flat(ours['error'])}" if ours["error"] else "-"
        aims = [aim for aim in entry["aims"] if aim["figure"] == figure["name"]]
        shown = [
            (n, c["summary"][figure["name"]]) for n, c in others.items() if figure["name"] in c["summary"]
        ]
        if not figure.get("ratio", True):  # an older entry does not say
            theirs = "; ".join(f"{n}: {number(s['median'])}" for n, s in shown)
            yield what, told, "all of them" if shown else "", theirs, "", "; ".join(_aim(aim) for aim in aims)
            continue
        alone = [aim for aim in aims if aim["against"] not in dict(shown)]
        if alone or (mine and not shown):
            yield what, told, "", "", "", "; ".join(_aim(aim) for aim in alone)
        for other, theirs in shown:
            ratio = entry["ratios"].get(other, {}).get(figure["name"])
            beside = f"{other} (limit)" if others[other]["role"] == "limit" else other
            verdicts = "; ".join(_aim(aim) for aim in aims if aim["against"] == other)
            yield what, told, beside, _spread(theirs, unit), _spread(ratio, "x") if ratio else "-", verdicts


def _notes(name: str, entry: Entry) -> str:
    machine = entry["machine"]
    versions = {p: v for c in entry["contenders"].values() for p, v in c["versions"].items()}
    told = [f"**{name}**: {entry['title']}."]
    if entry.get("notes"):
        told.append(" ".join(str(entry["notes"]).split()))
    if versions:
        told.append(f"Versions: {', '.join(f'{p} {v}' for p, v in sorted(versions.items()))}.")
    told.append(
        f"{entry['rounds']} round{'' if entry['rounds'] == 1 else 's'}, {entry['time'][:10]}, {entry['seconds']:.0f} s; "
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, load before {machine['load']}."
    )
    return " ".join(told)


def _spread(found: Mapping[str, float], unit: str) -> str:
    space = "" if unit in ("", "x") else " "
    return f"{number(found['median'])}{space}{unit} [{number(found['min'])}-{number(found['max'])}]"


def number(value: float) -> str:
    """Return three significant digits without an exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.5f}"


def _aim(aim: Mapping[str, Any]) -> str:
    return f"{aim['text']}: {aim['verdict']}"


def _flat(text: str) -> str:
    return " ".join(text.split())[:200].replace("|", "/")


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
