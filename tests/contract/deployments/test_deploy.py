"""Deploying and rolling back through the components' own functions, against a running platform."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from chandlery import registry
from chandlery.deployments import deploy as deploying
from chandlery.deployments.deploy import DeployRequest, deploy, dry_run, roll_back
from chandlery.deployments.deployment import current
from chandlery.errors import DeadlineError, InvalidDocumentError, NotFoundError, ServingError, UserError
from chandlery.provenance import Provenance
from chandlery.steps.serving import deploy_model as step
from chandlery.steps.serving.deploy_model import deploy_model
from chandlery.steps.serving.rollback_deployment import rollback_deployment

from .conftest import Platform

pytestmark = pytest.mark.slow  # starts servers

NOTED: dict[str, object] = {}
BEHAVIOUR = {"13": "fail=1", "14": "start=3"}


@dataclass(frozen=True)
class Info:
    """A registered version, served by the stand-in."""

    version: str

    @property
    def uri(self) -> str:
        """Where the stand-in reads its behaviour."""
        return f"standin:{self.version}?{BEHAVIOUR.get(self.version, '')}"

    @property
    def provenance(self) -> Provenance:
        """As the registry tells it."""
        return Provenance(model_name="digits", model_version=self.version, data_commit="abc")


@dataclass
class Artifact:
    """A KFP artifact."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def kind() -> str:
    """What is tested here does not depend on the gateway."""
    return "aiohttp"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    def version_info(model_name: str, version: str) -> Info:
        if not version.isdigit():
            raise NotFoundError(f"model {model_name!r} has no version {version}", "versions that exist: 12")
        return Info(version)

    monkeypatch.setattr(registry, "version_info", version_info)
    # The sample of the curl line comes from the version's package, which the stand-in has none of.
    monkeypatch.setattr(step, "download", lambda model_name, version: Path(version))
    monkeypatch.setattr(step, "sample_request", lambda package: {"x": np.array([7])})
    monkeypatch.setattr(step, "note", lambda facts: NOTED.update(facts.known()))


@pytest.mark.parametrize(("run_id", "place"), [("run-1", "runs/run-1/examples"), ("", "examples")])
def test_a_long_request_is_kept_with_the_run_and_works_when_pasted(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_id: str, place: str
) -> None:
    monkeypatch.setattr(step, "sample_request", lambda package: {"x": np.arange(1000)})
    monkeypatch.setenv("CHANDLERY_RUN_ID", run_id)
    deploy_model(DeployRequest("digits", "12", deadline_seconds=30.0), Artifact(str(tmp_path / "document")))
    line = str(NOTED["curl"])
    assert len(line) < 600
    assert f"{place}/digits.json" in line
    pasted = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=20)
    assert json.loads(pasted.stdout)["jsonData"] == {"echo": list(range(1000))}


def test_a_canary_without_traffic_says_how_to_get_some(
    platform: Platform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = Artifact(str(tmp_path / "document"))
    deploy_model(DeployRequest("digits", "12", deadline_seconds=30.0), document)
    assert "nothing will be decided" not in capsys.readouterr().out, "there is nothing to decide yet"
    deploy_model(DeployRequest("digits", "15", strategy="canary", deadline_seconds=30.0), document)
    told = capsys.readouterr().out
    assert "no request has come yet, and without traffic nothing will be decided between v12 and v15" in told
    assert "chandlery run replay_traffic -p model_name=digits -p repo=" in told


def test_deploy_canary_rollback(
    platform: Platform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = Artifact(str(tmp_path / "out" / "document"))

    def deployed(**given: Any) -> step.DeployOutputs:
        return deploy_model(DeployRequest("digits", deadline_seconds=30.0, **given), document)

    done = deployed(version="12", strategy="canary", environment={"CHANDLERY_MAX_BATCH": 32.0})
    assert (done.endpoint, done.strategy, done.changed) == (
        f"{platform.url}/seldon/default/digits",
        "replace",
        "yes",
    )
    pasted = subprocess.run(str(NOTED["curl"]), shell=True, capture_output=True, text=True, timeout=20)
    assert json.loads(pasted.stdout)["jsonData"] == {"echo": [7]}
    written = yaml.safe_load(Path(document.path).read_text(encoding="utf-8"))
    container = written["spec"]["predictors"][0]["componentSpecs"][0]["spec"]["containers"][0]
    assert {"name": "CHANDLERY_MAX_BATCH", "value": "32"} in container["env"]
    assert document.metadata["chandlery.data_commit"] == "abc"
    assert written["status"]["state"] == "Available"

    again = deployed(version="12", strategy="canary", environment={"CHANDLERY_MAX_BATCH": 32.0})
    assert (again.changed, "nothing to do" in again.reason) == ("no", True)

    canary = deployed(version="15", strategy="canary", environment={})
    assert (canary.strategy, canary.changed) == ("canary", "yes")
    spec = current(platform.store, "digits", "default")
    assert spec is not None
    assert spec.weights == {"v12": 95, "v15": 5}

    told = capsys.readouterr().out
    assert "digits: no request has come yet" not in told, "v12 was asked above"

    back = rollback_deployment("digits", "", "", "wrong answers doubled", 30.0, document)
    assert (back.version, back.previous_version, back.changed) == ("12", "12", "yes")
    assert "wrong answers doubled" in back.reason
    assert rollback_deployment("digits", "", "", "again", 30.0, document).changed == "no"
    assert roll_back("digits", to_version="15", deadline=30).version == "15"


def test_what_fails_is_undone(platform: Platform) -> None:
    with pytest.raises(ServingError, match=r"weights\.bin is damaged"):
        deploy(DeployRequest("digits", "13", deadline_seconds=30))
    assert current(platform.store, "digits", "default") is None
    deploy(DeployRequest("digits", "12", deadline_seconds=30))
    with pytest.raises(ServingError, match="predictor v13"):
        deploy(DeployRequest("digits", "13", strategy="canary", deadline_seconds=30))
    with pytest.raises(DeadlineError, match="not ready after"):
        deploy(DeployRequest("digits", "14", deadline_seconds=1))
    spec = current(platform.store, "digits", "default")
    assert spec is not None
    assert spec.weights == {"v12": 100}
    assert not deploy(DeployRequest("digits", "12", deadline_seconds=30)).changed


def test_bad_requests_change_nothing(platform: Platform) -> None:
    for request, error in (
        (DeployRequest("digits", "none"), NotFoundError),
        (DeployRequest("digits", "12", strategy="blue"), UserError),
        (DeployRequest("digits", "12", protocol="grpc"), InvalidDocumentError),
        (DeployRequest("digits", "12", deployment="Not A Name"), InvalidDocumentError),
        (DeployRequest("digits", "12", replicas=0), InvalidDocumentError),
    ):
        with pytest.raises(error) as caught:
            deploy(request)
        assert caught.value.hint
    with pytest.raises(NotFoundError, match="nothing to roll back"):
        roll_back("digits")
    assert platform.store.list(deploying.SELDON_DEPLOYMENT, "") == []


def test_dry_run_prints_the_document_and_applies_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    text = dry_run({"model_name": "digits", "version": "12", "strategy": "canary", "replicas": 2})
    document = yaml.safe_load(text)
    assert document["kind"] == "SeldonDeployment"
    assert [(p["name"], p["replicas"], p["traffic"]) for p in document["spec"]["predictors"]] == [
        ("v12", 2, 100)
    ]
    assert not list((tmp_path / "resources").glob("*digits*"))
    with pytest.raises(UserError, match="version"):
        dry_run({"model_name": "digits"})
    with pytest.raises(UserError, match="modle"):
        dry_run({"model_name": "digits", "version": "12", "modle": 1})
