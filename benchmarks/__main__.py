"""Run the benchmarks: `python -m benchmarks [command-line] [serving]`, all without a name."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import command_line, serving
from benchmarks.machine import describe

RESULTS = Path(__file__).parent / "results.json"
BENCHMARKS = {"command-line": command_line.run, "serving": serving.run}


def main(names: list[str]) -> int:
    """Run the named benchmarks, print their tables, and keep the figures in `benchmarks/results.json`."""
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        print(f"no benchmark {unknown[0]!r}\nvalid: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in names or list(BENCHMARKS):
        table, figures = BENCHMARKS[name]()
        print(table, flush=True)
        results[name] = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": describe(),
            **figures,
        }
        partial = RESULTS.with_suffix(".partial")
        partial.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
