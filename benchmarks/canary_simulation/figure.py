"""Draws the simulated comparison of canary policies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chandlery.files import write_text
from chandlery.report import BAD, GOOD, PALETTE, axes, svg

if TYPE_CHECKING:
    from benchmarks.canary_simulation.result import Result

_OURS = "e-processes"
_STYLES = {"Flagger": PALETTE[0], "z-test": PALETTE[3], "Kayenta": PALETTE[4]}


def draw(results: dict[str, dict[float, Result]], path: str | Path) -> None:
    """Write an SVG of the rollback probability of each policy over the challenger's rate ratio.

    Args:
        results: what `simulate.table` returned.
        path: file to write.
    """
    figure, (left, right) = axes(width=9.6, height=4.6, columns=2)
    seen: dict[str, int] = {}
    for name, row in results.items():
        family = name.split()[0].rstrip(",")
        ours = family == _OURS
        dashes = ((0, ()), (0, (4, 2)))[seen.get(family, 0) % 2]
        seen[family] = seen.get(family, 0) + 1
        color, width = (GOOD, 3.0) if ours else (_STYLES[family], 1.6)
        style: dict[str, Any] = {
            "color": color,
            "linewidth": width,
            "linestyle": dashes,
            "marker": "o",
            "markersize": 3 + ours,
        }
        ratios = list(row)
        left.plot(ratios, [row[r].rollback_rate for r in ratios], label=name, **style)
        right.plot(ratios, [row[r].median_minutes for r in ratios], label=name, **style)
    left.set_ylabel("probability of a rollback")
    left.axvspan(0.9, 1.1, color=GOOD, alpha=0.10, linewidth=0)
    left.axvspan(1.93, 5.4, color=BAD, alpha=0.06, linewidth=0)
    left.annotate("good: 0 is right", (0.925, 0.62), fontsize=8, color=PALETTE[5], rotation=90)
    left.annotate("bad: 1 is right", (3.4, 0.02), fontsize=8, color=PALETTE[5])
    left.set_ylim(-0.03, 1.08)
    right.set_ylabel("median minutes to the decision")
    right.set_yscale("log")
    right.set_yticks([1, 3, 10, 30, 120], ["1", "3", "10", "30", "120"])
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_xticks([1, 1.5, 2, 3, 5], ["1", "1.5", "2", "3", "5"])
        ax.minorticks_off()
        ax.set_xlabel("error rate of the challenger over the champion's")
    figure.legend(
        *left.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
        handlelength=3.5,
    )
    write_text(Path(path), svg(figure))
