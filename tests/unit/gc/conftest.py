"""A home of its own for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .world import Registry, World

NAMES = (
    "CHANDLERY_DATA",
    "CHANDLERY_ARTIFACTS",
    "CHANDLERY_RESOURCES",
    "CHANDLERY_RUN_ID",
    "CHANDLERY_GATEWAY",
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    registry = Registry(tmp_path / "registry")
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.address)
    yield World(Path(os.environ["CHANDLERY_HOME"]), registry)
    registry.close()
