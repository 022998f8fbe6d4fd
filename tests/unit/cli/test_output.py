"""Names of users are shown as they are: no markup, no escape sequence is obeyed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.cli.lineage import lineage
from chandlery.cli.output import print_table, visible
from chandlery.lineage import Node

HOSTILE = ["[red]x", "[/x]", "[bold]", "a\x1b[31mred", "\x07", "\u202egpj.exe", "[link=http://x]y[/link]"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_table_shows_hostile_names(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name"], [(text,)])
    shown = capsys.readouterr().out
    assert visible(text) in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_lineage_shows_hostile_names(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node = Node("data commit", text, {"branch": text, "message": text}, asked=True)
    monkeypatch.setattr("chandlery.lineage.trace", lambda ref: node)
    lineage("ref", as_json=False)
    shown = capsys.readouterr().out
    assert shown.count(visible(text)) == 3
    assert "\x1b" not in shown


@given(st.text(max_size=40))
def test_nothing_visible_controls_a_terminal(text: str) -> None:
    assert not set(visible(text)) & {chr(code) for code in [*range(9), *range(11, 32), *range(127, 160)]}
