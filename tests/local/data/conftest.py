"""A home for every test, and components run as processes, from their functions, as `kfp.local` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.components import outputs
from tests.components import run as run_pipeline
from tests.loading import load_component


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "CHANDLERY_DATA",
        "CHANDLERY_ARTIFACTS",
        "CHANDLERY_RUN_ID",
        "CHANDLERY_TASK",
        "MLFLOW_TRACKING_URI",
    ):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    monkeypatch.setenv("CHANDLERY_HOME", str(folder))
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that runs a data component in a one-task pipeline and raises when it fails."""
    from kfp import dsl

    def run(name: str, dataset: str = "", metadata: dict[str, str] | None = None, **arguments: Any) -> Any:
        component = load_component("data", name)

        # No return annotation: kfp would read it as an output.
        @dsl.pipeline(name=name.replace("_", "-"))
        def pipeline():  # type: ignore[no-untyped-def]
            inputs = dict(arguments)
            if dataset:
                inputs["dataset"] = dsl.importer(
                    artifact_uri=dataset, artifact_class=dsl.Dataset, metadata=metadata or {}
                ).output
            component(**inputs)

        return outputs(run_pipeline(pipeline, tmp_path).task(name))

    return run
