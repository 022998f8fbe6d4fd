"""Report pages: everything given is escaped, nothing is fetched, the same input gives the same bytes."""

import re
from pathlib import Path

import numpy as np

from chandlery.provenance import Provenance
from chandlery.report import Report, axes, show, svg

NASTY = '<script>alert("x")</script>&'


def test_every_text_is_escaped() -> None:
    page = Report(NASTY, NASTY).verdict(NASTY, "bad").table(NASTY, [NASTY], [[NASTY]])
    page.facts(NASTY, {NASTY: NASTY}).text(NASTY, NASTY).code(NASTY, NASTY)
    page.svg(NASTY, "<svg></svg>", NASTY).provenance(Provenance(recipe=NASTY))
    html = page.html()
    assert "<script" not in html
    assert "&amp;" in html
    assert html.count("&lt;script&gt;") >= 14


def test_text_in_a_plot_is_escaped() -> None:
    figure, (ax,) = axes()
    ax.set_title(NASTY)
    assert "<script" not in svg(figure)


def test_nothing_is_fetched_and_nothing_runs() -> None:
    figure, (ax,) = axes()
    ax.plot([1, 2])
    html = Report("t").figure("f", figure, "caption").html()
    assert "<svg" in html
    assert "<?xml" not in html
    assert not re.search(r"<script|(src|href)=\"(?!#)", html)


def test_the_same_figure_gives_the_same_bytes() -> None:
    def draw() -> str:
        figure, (left, right) = axes(columns=2)
        left.hist(np.arange(20))
        right.plot(np.arange(20))
        return Report("t").figure("f", figure).html()

    assert draw() == draw()


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "page"
    page = Report("one")
    page.write(target)
    page.text("two", "more")
    page.write(target)
    assert target.read_text() == page.html()
    assert [path.name for path in target.parent.iterdir()] == ["page"]


def test_cells() -> None:
    assert [show(v) for v in (0.123456, 1, True, "x", np.float64(2.0))] == ["0.1235", "1", "True", "x", "2"]


def test_empty_provenance_adds_no_section() -> None:
    assert Report("t").provenance(Provenance()).html() == Report("t").html()
