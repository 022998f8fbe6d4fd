"""The serving components as `kfp.local` runs them: processes of their own, parameters in, files out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from chandlery import kfp_local
from chandlery.deployments.deployment import apply, current, read_annotation, wait_ready
from tests.loading import load_component

from .conftest import Platform, serving, variant

ROOT = Path(__file__).parents[3]


@pytest.fixture
def kind() -> str:
    """What is tested here does not depend on the gateway."""
    return "aiohttp"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that runs a serving component and raises when it fails."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    kfp_local.init(pipeline_root=str(tmp_path / "outputs"), raise_on_error=True)

    def run(name: str, **arguments: Any) -> Any:
        return load_component("serving", name)(**arguments)

    return run


@pytest.mark.slow
def test_rollback_deployment(platform: Platform, run: Callable[..., Any]) -> None:
    apply(platform.store, serving(variant("1", 75), variant("2", 25)))
    wait_ready(platform.store, "digits", "default", 30)
    task = run("rollback_deployment", deployment="digits", reason="too many wrong answers")
    assert task.outputs["version"] == "1"
    assert task.outputs["changed"] == "yes"
    assert "too many wrong answers" in task.outputs["reason"]
    written = yaml.safe_load(Path(task.outputs["document"].path).read_text(encoding="utf-8"))
    assert [p["name"] for p in written["spec"]["predictors"]] == ["v1"]
    spec = current(platform.store, "digits", "default")
    assert spec is not None
    assert spec.weights == {"v1": 100}
    assert "too many" in read_annotation(platform.store, "digits", "default", "chandlery.io/rollback")


@pytest.mark.slow
def test_deploy_model_without_a_registry_says_so_and_changes_nothing(
    platform: Platform, run: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError):
        run("deploy_model", model_name="digits", version="1")
    said = capfd.readouterr()
    assert "no mlflow endpoint" in said.out + said.err
    assert current(platform.store, "digits", "default") is None
