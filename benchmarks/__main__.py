"""Run the benchmarks: `python -m benchmarks [ROW ...] [--rounds N] [--quick]`, all rows without a name.

Each row that is measured replaces its entry of `results.json`, and `README.md` beside it is made anew.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks.harness import OURS, ROUNDS, Row, measure
from benchmarks.machine import describe
from benchmarks.table import page, table
from chandlery.files import write_json, write_text

HERE = Path(__file__).parent


def rows() -> dict[str, Row]:
    """Return all rows by name: those of every module here that has `ROWS`."""
    found: dict[str, Row] = {}
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name == "__main__":
            continue
        for row in getattr(importlib.import_module(f"benchmarks.{module.name}"), "ROWS", ()):
            if row.name in found:
                raise ValueError(f"two rows are called {row.name}")
            found[row.name] = row
    return found


def main(arguments: list[str]) -> int:
    """Measure the named rows and keep their figures; returns 1 when a row has no figures of ours, 2 for a wrong name."""
    known = rows()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(known)}; default: all")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"rounds that count (default {ROUNDS})")
    parser.add_argument(
        "--quick", action="store_true", help="one short round to see that it works; keeps nothing"
    )
    parser.add_argument("--folder", type=Path, default=HERE, help="where results.json and README.md go")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.rows) - set(known))
    if unknown or options.rounds < 1:
        what = f"no row {unknown[0]!r}\nvalid: {', '.join(known)}" if unknown else "--rounds is at least 1"
        print(what, file=sys.stderr)
        return 2
    failed = False
    for name in options.rows or known:
        entry = _measure(known[name], options.rounds, options.quick)
        failed = failed or not _has_ours(entry)
        print(table({name: entry}), flush=True)
        if not options.quick:
            keep(options.folder, name, entry)
    return 1 if failed else 0


def keep(folder: Path, name: str, entry: dict[str, Any]) -> None:
    """Replace a row's entry of `results.json`, leave the others as they are, and make `README.md` anew."""
    path = folder / "results.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    results[name] = entry
    write_json(path, results)
    write_text(folder / "README.md", page(results))


def _measure(row: Row, rounds: int, quick: bool) -> dict[str, Any]:
    try:
        return measure(row, rounds, quick)
    except Exception as error:  # one row that cannot be set up must not lose the others
        traceback.print_exc()
        return {
            "title": row.title,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "machine": describe(),
            "rounds": 0,
            "contenders": {},
            "error": f"{type(error).__name__}: {error}"[:500],
        }


def _has_ours(entry: dict[str, Any]) -> bool:
    return any(c["role"] == OURS and c["rounds"] and not c["error"] for c in entry["contenders"].values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
