"""HTML reports: one self-contained page, inline SVG plots, readable in a browser and in the KFP dashboard.

No script and nothing fetched: the dashboard shows artifacts in a sandboxed frame, often without a network.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chandlery.files import write_text
from chandlery.provenance import Provenance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One palette for every plot; the first is the champion or training, the second the challenger or validation.
PALETTE = ("#2b5c8a", "#d1603d", "#3a8f6b", "#8a5a9e", "#c29b2b", "#5f6b76")
GOOD, BAD, NEUTRAL = "#2f7d4f", "#b3382c", "#5f6b76"

LONGEST_OPEN_CODE = 12  # lines of a document that are shown without a click

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #1c2530; background: #f4f6f8; margin: 0; }
main { max-width: 980px; margin: 0 auto; padding: 28px 24px 48px; }
header h1 { font-size: 26px; margin: 0 0 4px; letter-spacing: -0.01em; }
header p { color: #56626e; margin: 0 0 18px; }
section { background: #fff; border: 1px solid #dde3e9; border-radius: 8px; padding: 16px 20px; margin: 0 0 16px; }
h2 { font-size: 17px; margin: 0 0 10px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: left; color: #56626e; font-weight: 600; border-bottom: 2px solid #dde3e9; padding: 5px 10px 5px 0; }
td { border-bottom: 1px solid #edf0f3; padding: 5px 10px 5px 0; vertical-align: top; overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; }
.facts td:first-child { white-space: nowrap; }
.verdict { border-left: 6px solid; font-size: 17px; }
.verdict.good { border-left-color: #2f7d4f; } .verdict.bad { border-left-color: #b3382c; } .verdict.neutral { border-left-color: #8a949e; }
.wide { overflow-x: auto; }
svg { max-width: 100%; height: auto; display: block; margin: 4px auto; }
pre { background: #f4f6f8; border-radius: 6px; padding: 10px 12px; overflow-x: auto; font-size: 13px; }
details { margin: 22px 0 0; }
summary { font-size: 19px; font-weight: 600; margin: 0 0 10px; cursor: pointer; }
summary.small { font-size: 14px; font-weight: 400; color: #56626e; }
section details { margin: 0; }
footer { color: #56626e; font-size: 13px; }
code { font-size: 13px; }
"""

VerdictKind = Literal["good", "bad", "neutral"]

# The frame of a page ends and begins again at these marks; a run's report takes what is between them.
_BEGIN, _END = "<!-- sections -->", "<!-- end of sections -->"


class Report:
    """Builds a page section by section; every text given is escaped."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        """Start a page with a title and a line below it."""
        self._title = title
        self._subtitle = subtitle
        self._body: list[str] = []

    def verdict(self, text: str, kind: VerdictKind) -> Report:
        """Add a highlighted statement: what was decided and why."""
        self._body.append(f'<section class="verdict {kind}">{escape(text)}</section>')
        return self

    def table(self, heading: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Report:
        """Add a table; floats are shown with four significant digits."""
        head = "".join(f"<th>{escape(str(cell))}</th>" for cell in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(show(cell))}</td>" for cell in row) + "</tr>" for row in rows
        )
        self._section(
            heading,
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>',
        )
        return self

    def facts(self, heading: str, values: Mapping[str, object]) -> Report:
        """Add a two-column list of names and values."""
        body = "".join(f"<tr><td>{escape(k)}</td><td>{escape(show(v))}</td></tr>" for k, v in values.items())
        self._section(heading, f'<table class="facts">{body}</table>')
        return self

    def text(self, heading: str, text: str) -> Report:
        """Add a paragraph."""
        self._section(heading, f"<p>{escape(text)}</p>")
        return self

    def code(self, heading: str, text: str) -> Report:
        """Add preformatted text: a command, a document; a long one is folded."""
        inner = f"<pre>{escape(text)}</pre>"
        if text.count("\n") > LONGEST_OPEN_CODE:
            inner = f"<details><summary class='small'>show {text.count(chr(10)) + 1} lines</summary>{inner}</details>"
        self._section(heading, inner)
        return self

    def figure(self, heading: str, figure: Figure, caption: str = "") -> Report:
        """Add a matplotlib figure as inline SVG and close it."""
        import matplotlib.pyplot as plt

        text = f"<p>{escape(caption)}</p>" if caption else ""
        self._section(heading, svg(figure) + text)
        plt.close(figure)
        return self

    def svg(self, heading: str, image: str, caption: str = "") -> Report:
        """Add an SVG image made by `svg`."""
        text = f"<p>{escape(caption)}</p>" if caption else ""
        self._section(heading, image + text)
        return self

    def provenance(self, record: Provenance) -> Report:
        """Add what the thing on this page was made from."""
        known = {name.replace("_", " "): value for name, value in record._known().items()}
        return self.facts("Provenance", known) if known else self

    def embed(self, heading: str, sections: str) -> Report:
        """Add the sections of another page made here, folded under a heading."""
        self._body.append(f"<details open><summary>{escape(heading)}</summary>{sections}</details>")
        return self

    def html(self) -> str:
        """Return the page."""
        subtitle = f"<p>{escape(self._subtitle)}</p>" if self._subtitle else ""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self._title)}</title><style>{STYLE}</style></head><body><main>"
            f"<header><h1>{escape(self._title)}</h1>{subtitle}</header>{_BEGIN}{''.join(self._body)}{_END}</main></body></html>\n"
        )

    def write(self, path: str | Path) -> None:
        """Write the page to `path` atomically."""
        write_text(Path(path), self.html())

    def _section(self, heading: str, inner: str) -> None:
        title = f"<h2>{escape(heading)}</h2>" if heading else ""
        self._body.append(f"<section>{title}{inner}</section>")


def axes(width: float = 8.4, height: float = 3.6, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure of `width` x `height` inches with `columns` axes in the house style."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(1, columns, figsize=(width, height), squeeze=False, layout="constrained")
    for ax in grid[0]:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", color="#e3e8ed", linewidth=0.8)
        ax.set_axisbelow(True)
        ax.set_prop_cycle(color=list(PALETTE))
    return figure, list(grid[0])


def svg(figure: Figure) -> str:
    """Return a figure as an inline SVG element, the same bytes for the same figure."""
    import matplotlib
    from matplotlib.text import Text

    buffer = io.StringIO()
    # A column may be called `$x_1$`: its name is text and no formula, which a lone `$` or `\\` would not even be.
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    plain = {"svg.hashsalt": "chandlery", "svg.fonttype": "none", "text.parse_math": False}
    with matplotlib.rc_context(plain):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), count=1, flags=re.DOTALL)


def sections_of(page: str) -> str:
    """Return the sections of a page that `Report.html` made, without its frame; empty for another page."""
    return page.partition(_BEGIN)[2].rpartition(_END)[0]


def show(value: object) -> str:
    """Return a cell's text: floats with four significant digits, the rest as they are."""
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:.4g}"
