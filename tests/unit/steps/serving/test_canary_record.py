"""The verdict of a canary is kept with the model version; a registry that does not answer ends nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chandlery.canary import release
from chandlery.canary.parameters import CanaryParameters
from chandlery.canary.release import Released
from chandlery.errors import RegistryError
from chandlery.provenance import Provenance
from chandlery.report import Report
from chandlery.steps.serving import canary_record
from chandlery.steps.serving import run_canary as step


@dataclass
class Artifact:
    """A KFP artifact."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    monkeypatch.delenv("CHANDLERY_RUN_ID", raising=False)


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verdict: str) -> step.CanaryOutputs:
    released = Released(
        verdict=verdict,
        reason="ended early by anna: a complaint",
        deployment="digits",
        serving_version="1",
        released=False,
        metrics={},
        page=Report("Canary", ""),
        provenance=Provenance(model_name="digits", model_version="2"),
        ended_by="anna",
    )
    monkeypatch.setattr(release, "run_canary", lambda *_: released)
    outputs = (Artifact(str(tmp_path / name)) for name in ("report", "evidence"))
    return step.run_canary(CanaryParameters("digits", "2"), *outputs)


@pytest.mark.parametrize(("verdict", "kept"), [("rolled_back", 1), ("nothing_to_do", 0)])
def test_a_verdict_is_kept_with_the_challenger(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verdict: str, kept: int
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(canary_record, "record", lambda *given: told.append(given))
    assert run(monkeypatch, tmp_path, verdict).verdict == verdict
    assert told == [("digits", "2", verdict, "ended early by anna: a complaint", "anna")][:kept]


def test_a_registry_that_does_not_answer_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(*_: Any) -> None:
        raise RegistryError("MLflow cannot be reached", "start it")

    monkeypatch.setattr(canary_record, "record", away)
    assert run(monkeypatch, tmp_path, "rolled_back").champion_version == "1"
    assert "the verdict is not kept with digits/2: MLflow cannot be reached" in capsys.readouterr().out


def test_without_a_registry_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setattr(canary_record, "record", lambda *_: pytest.fail("there is no registry"))
    assert run(monkeypatch, tmp_path, "rolled_back").verdict == "rolled_back"
