"""How long the command line takes to start."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

RUNS = 7
# command -> seconds that it may take
OBJECTIVES = {("--help",): 0.3, ("list",): 0.7}


def run() -> tuple[str, dict[str, Any]]:
    """Return a Markdown table and the figures: median seconds of each command."""
    lines = ["| command | median of 7 | objective |", "|---|---|---|"]
    figures: dict[str, float] = {}
    for arguments, objective in OBJECTIVES.items():
        name = " ".join(("chandlery", *arguments))
        seconds = statistics.median(_seconds(arguments) for _ in range(RUNS))
        figures[name] = round(seconds, 3)
        lines.append(f"| `{name}` | {seconds:.3f} s | {objective} s |")
    return "\n".join(lines), {"seconds": figures}


def _seconds(arguments: tuple[str, ...]) -> float:
    program = "import sys; from chandlery.cli.main import main; sys.exit(main())"
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )
    return time.perf_counter() - began
