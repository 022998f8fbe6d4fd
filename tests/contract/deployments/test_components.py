"""The serving components as `kfp.local` runs them: processes of their own, parameters in, files out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from chandlery.deployments.deployment import apply, current, read_annotation, wait_ready
from tests.components import FailedRunError, run_component
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

    def run(name: str, **arguments: Any) -> dict[str, Any]:
        return run_component(load_component("serving", name), tmp_path, **arguments)

    return run


@pytest.mark.slow
def test_rollback_deployment(platform: Platform, run: Callable[..., Any]) -> None:
    apply(platform.store, serving(variant("1", 75), variant("2", 25)))
    wait_ready(platform.store, "digits", "default", 30)
    task = run("rollback_deployment", deployment="digits", reason="too many wrong answers")
    assert task["version"] == "1"
    assert task["changed"] == "yes"
    assert "too many wrong answers" in task["reason"]
    written = yaml.safe_load(Path(task["document"].path).read_text(encoding="utf-8"))
    assert [p["name"] for p in written["spec"]["predictors"]] == ["v1"]
    spec = current(platform.store, "digits", "default")
    assert spec is not None
    assert spec.weights == {"v1": 100}
    assert "too many" in read_annotation(platform.store, "digits", "default", "chandlery.io/rollback")


@pytest.mark.slow
def test_deploy_model_without_a_registry_says_so_and_changes_nothing(
    platform: Platform, run: Callable[..., Any]
) -> None:
    with pytest.raises(FailedRunError, match="no mlflow endpoint"):
        run("deploy_model", model_name="digits", version="1")
    assert current(platform.store, "digits", "default") is None
