"""The live view shows what a reader can follow; the log has the rest."""

from __future__ import annotations

import io
from collections.abc import Iterable

import pytest

from chandlery.cli import display
from chandlery.cli.display import Display
from chandlery.runs.record import RunRecord


def shown(numbers: Iterable[int], epochs: int, *, verbose: bool = False) -> list[str]:
    out = io.StringIO()
    with Display(out, verbose=verbose) as view:
        for number in numbers:
            view.event({"event": "epoch", "message": f"epoch {number}", "epoch": number, "epochs": epochs})
    return out.getvalue().split("\n")[:-1]


def test_of_fast_epochs_the_first_and_the_last_are_shown() -> None:
    assert [line.strip() for line in shown(range(1, 41), 40)] == ["epoch 1", "epoch 40"]


def test_slow_epochs_are_all_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "EPOCH_SECONDS", 0.0)
    assert len(shown(range(1, 41), 40)) == 40


def test_a_verbose_view_shows_all() -> None:
    assert len(shown(range(1, 41), 40, verbose=True)) == 40


@pytest.mark.parametrize(("pipeline", "lines"), [("deploy_model", 1), ("train_and_deploy", 0)])
def test_missing_traffic_is_told_where_no_canary_follows(pipeline: str, lines: int) -> None:
    out = io.StringIO()
    with Display(out) as view:
        view.start(RunRecord("run-1", pipeline, "", "", {}), False)
        view.event({"event": "deployment.no_traffic", "message": "no request has come yet"})
    assert out.getvalue().count("no request has come yet") == lines
