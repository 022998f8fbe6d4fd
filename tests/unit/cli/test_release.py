"""`chandlery release`: two lines where there is nothing to end, the verdict and who serves where there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chandlery.canary import ending
from chandlery.canary.decision.machine import begin
from chandlery.canary.decision.policy import ReleasePolicy
from chandlery.canary.ending import Ended
from chandlery.cli.main import app
from chandlery.deployments.deployment import apply
from chandlery.deployments.spec import ServingSpec, Variant
from chandlery.embedded.resources import EmbeddedStore
from chandlery.errors import NotFoundError, UserError

STATE = begin("run-1", "v1", "v2", ReleasePolicy()).with_(
    phase="finished", verdict="rolled_back", reason="ended early by anna: \u202ea complaint", ended_by="anna"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    for name in ("MLFLOW_TRACKING_URI", "CHANDLERY_RESOURCES", "CHANDLERY_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    store = EmbeddedStore(tmp_path / "resources")
    variants = (Variant("1", "models:/digits/1", 95), Variant("2", "models:/digits/2", 5))
    apply(store, ServingSpec("digits", "default", "digits", variants, strategy="canary"))
    store.close()
    return tmp_path


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["release", *words])


@pytest.mark.parametrize("decision", ["promote", "rollback"])
@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("letters", NotFoundError, "no deployment default/letters"),
        ("digits", UserError, "no canary is running on default/digits"),
    ],
)
def test_where_nothing_runs_two_lines_say_so(decision: str, name: str, error: type, says: str) -> None:
    done = run(decision, name, "--reason", "because")
    assert isinstance(done.exception, error)
    assert (done.exception.message, done.exception.exit_code) == (says, 2)
    assert done.exception.hint


def test_a_reason_is_asked_for() -> None:
    assert run("promote", "digits").exit_code == 2
    assert isinstance(run("promote", "digits", "--reason", "").exception, UserError)


@pytest.mark.parametrize(("changed", "already"), [(True, ""), (False, " already")])
def test_the_verdict_is_shown(monkeypatch: pytest.MonkeyPatch, changed: bool, already: str) -> None:
    asked: list[Any] = []

    def end_early(*given: Any) -> Ended:
        asked.append(given)
        return Ended("digits", "digits", STATE, "v1", changed)

    monkeypatch.setattr(ending, "end_early", end_early)
    done = run("rollback", "digits", "--reason", "a complaint", "--by", "anna")
    assert asked == [("digits", "default", "rollback", "a complaint", "anna")]
    assert done.stdout.splitlines() == [
        f"v2 rolled back{already}: ended early by anna: \\x202ea complaint",
        "v1 has all the traffic of digits",
    ]
    shown = json.loads(run("rollback", "digits", "--reason", "a complaint", "--json").stdout)
    assert (shown["version"], shown["verdict"], shown["by"], shown["serving"]) == (
        "2",
        "rolled_back",
        "anna",
        "1",
    )
    assert shown["changed"] is changed
