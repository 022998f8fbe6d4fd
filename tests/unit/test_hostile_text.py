"""Names that look like markup, formulas or control sequences are shown as they are in every page, plot and card."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery.data.quality import Validation
from chandlery.data.quality_report import failed_report, quality_report
from chandlery.provenance import Provenance
from chandlery.recipe import Column
from chandlery.report import Report, axes
from chandlery.training.plots import confusion, difference, learning_curves
from chandlery.training.statistics import Interval
from tests.recipes import Answers

HOSTILE = [
    "$x_1$", "$", "$\\frac{", "a_b^{", "\\", "[red]", "[/x]", "<script>alert(1)</script>", "&amp;", '"><img src=x>',
    "']]>", "-->", "{0}", "%s", "\x1b[31m", "ü\u202e", "`|`",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12),
)


def pages(text: str) -> list[str]:
    """Every kind of page, with a text in each place that a user may fill."""

    class Named(Answers):
        task = "classification"
        schema = (
            Column(text, "str", allowed=(text, "b")),
            Column("x", minimum=0, maximum=1),
            Column("y" + text),
        )
        target = text
        classes = (text, "b")
        objective = text

        def wrong(self, prediction: Any, truth: Any) -> bool:
            return False

    rows = {text: np.array([text, "b", "c"]), "x": np.array([0.0, 2, 1]), "y" + text: np.arange(3.0)}
    validation = Validation(Named())
    validation.add(rows)
    record = Provenance(data_branch=text, data_repo=text, recipe=text)
    page = Report(text, text).verdict(text, "bad").facts(text, {text: text}).text(text, text).code(text, text)
    page.table(text, [text], [(text,)])
    figure, (ax,) = axes()
    ax.plot([0, 1], [0, 1], label=text)
    ax.set(title=text, xlabel=text, ylabel=text)
    ax.set_xticks([0, 1], [text, text])
    ax.legend()
    ax.annotate(text, (0, 0))
    page.figure(text, figure, text)
    page.figure("confusion", confusion(np.eye(2), (text, "b")))
    page.figure("gain", difference(Interval(0, 1), 0.5, 0.1, text, True))
    page.figure(
        "curves", learning_curves(Named(), [{"epoch": 1.0, "loss": 1.0, "training_loss": 1.0, text: 1.0}], 1)
    )
    return [
        page.provenance(record).html(),
        quality_report(text, Named(), validation.profiles, validation.quality(), record).html(),
        failed_report(text, text, record).html(),
    ]


TAG = re.compile(r"<\s*(script|img|iframe|a\b)", re.IGNORECASE)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names(text: str) -> None:
    for page in pages(text):
        assert not TAG.search(page)


@settings(max_examples=15, deadline=None)
@given(TEXTS)
def test_any_name(text: str) -> None:
    for page in pages(text):
        assert not TAG.search(page)


def test_a_formula_is_shown_as_text() -> None:
    figure, (ax,) = axes()
    ax.set_title("$x_1$")
    assert "$x_1$" in Report("t").figure("f", figure).html()
