"""`run_canary` and `replay_traffic` as processes, as the engine runs them: outputs, files, provenance, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest

from chandlery.deployments.deployment import apply, read_annotation
from chandlery.deployments.spec import ServingSpec, Variant
from chandlery.embedded.resources import EmbeddedStore
from tests.components import FailedRunError, run_component
from tests.loading import ROOT, load_component

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a deployment `digits` that serves version 13 alone."""
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHANDLERY_RUN_ID", "run-1")
    monkeypatch.setenv("CHANDLERY_TASK", "run-canary")
    for name in ("CHANDLERY_RESOURCES", "CHANDLERY_GATEWAY", "CHANDLERY_ARTIFACTS", "CHANDLERY_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(ROOT)
    store = EmbeddedStore(tmp_path / "home" / "resources")
    apply(store, ServingSpec("digits", "default", "digits", (Variant("13", "models:/digits/13", 100),)))
    store.close()
    return tmp_path / "home"


def test_a_canary_of_the_champion_has_nothing_to_do(home: Path, tmp_path: Path) -> None:
    store = EmbeddedStore(home / "resources")
    made = run_component(
        load_component("serving", "run_canary"),
        tmp_path,
        model_name="digits",
        challenger_version="13",
    )
    assert made["verdict"] == "nothing_to_do"
    assert made["released"] == "yes"
    assert made["champion_version"] == "13"
    assert "already answers all requests" in made["reason"]
    report, evidence = made["report"], made["evidence"]
    assert "nothing to do" in Path(report.path).read_text(encoding="utf-8")
    assert json.loads(Path(evidence.path).read_text(encoding="utf-8")) == {"released": 1.0}
    for artifact in (report, evidence):
        assert artifact.metadata["chandlery.model_version"] == "13"
        assert artifact.metadata["chandlery.run_id"] == "run-1"
    note = json.loads((home / "artifacts/runs/run-1/run-canary.json").read_text(encoding="utf-8"))
    assert note["values"]["verdict"] == "nothing_to_do"
    assert note["values"]["serving_version"] == "13"
    assert read_annotation(store, "digits", "default", "chandlery.io/canary") == ""
    store.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"challenger_version": "14"}, "the deployment has no predictor v14, only v13"),
        ({"challenger_version": "14", "deployment": "letters"}, "no deployment default/letters"),
        ({"challenger_version": "13", "weights": [5, 25]}, "rising whole percentages that end in 100"),
        ({"challenger_version": "13", "guardrails": ["latency"]}, "valid metrics: wrong, errors, slow"),
    ],
)
def test_what_cannot_be_is_refused(home: Path, tmp_path: Path, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(FailedRunError) as error:
        run_component(load_component("serving", "run_canary"), tmp_path, model_name="digits", **arguments)
    assert says in str(error.value)


def test_a_replay_without_an_end_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedRunError, match="give seconds or requests"):
        run_component(
            load_component("serving", "replay_traffic"),
            tmp_path,
            model_name="digits",
            repo="digits",
            seconds=0.0,
        )
