"""Protects: what was measured is remembered, and an attempt that ended the process is not made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chandlery.inference import tuning

TIMES = {"traced": {"1": 0.2}, "compiled": {"1": 0.1}}


class Loaded:
    runtime, exact = "tensorflow", False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: list[Any] = []

    def tune(self, features: Any, largest: int, seconds: float, known: Any) -> Any:
        assert (self.folder / tuning.ATTEMPT).exists(), "noted before it is tried"
        self.known.append(known)
        return TIMES


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "machine", lambda: "this one")


def test_the_next_server_measures_nothing(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path)
    tuning.tune(loaded, None, 8, 1)  # type: ignore[arg-type]
    tuning.tune(loaded, None, 8, 1)  # type: ignore[arg-type]
    assert loaded.known == [None, TIMES]
    assert json.loads((tmp_path / tuning.REMEMBERED).read_text()) == {"this one": TIMES}
    assert not (tmp_path / tuning.ATTEMPT).exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"this one": {"traced": {"x": 1}}}', '{"this one": 3}'])
def test_a_damaged_file_is_measured_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / tuning.REMEMBERED).write_text(content)
    loaded = Loaded(tmp_path)
    tuning.tune(loaded, None, 8, 1)  # type: ignore[arg-type]
    assert loaded.known == [None]


def test_attempts_that_did_not_come_back_are_not_made_for_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Ends(Loaded):
        def tune(self, *given: Any, **named: Any) -> Any:
            super().tune(*given, **named)
            raise SystemExit  # as an abort, which nothing catches

    for _ in range(tuning.MOST_ATTEMPTS):
        loaded = Ends(tmp_path)
        with pytest.raises(SystemExit):
            tuning.tune(loaded, None, 8, 1)  # type: ignore[arg-type]
        assert loaded.known == [None]
    tuning.tune(loaded, None, 8, 1)  # type: ignore[arg-type]
    assert loaded.known == [None]
    assert "earlier attempts did not come back" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_left_alone(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path / "missing")
    tuning.tune(loaded, None, 8, 1)  # type: ignore[arg-type]
    assert loaded.known == []


@pytest.mark.parametrize("change", [{"runtime": "litert"}, {"exact": True}])
def test_others_are_not_tuned(tmp_path: Path, change: dict[str, Any]) -> None:
    loaded = Loaded(tmp_path)
    loaded.__dict__.update(change)
    tuning.tune(loaded, None, 8, 1)  # type: ignore[arg-type]
    tuning.tune(Loaded(tmp_path), None, 8, 0)  # type: ignore[arg-type]
    assert loaded.known == []
