"""A real model class over a model package whose network is a line of numpy, so that no test waits for TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from chandlery.inference import model as model_module
from chandlery.inference.app import create_app
from chandlery.inference.model import ChandleryModel
from chandlery.inference.settings import Settings
from chandlery.model import MANIFEST, read_manifest
from chandlery.recipe import Columns, load_recipe, load_snapshot, snapshot

RECIPES = Path(__file__).parent / "recipes" / "recipe.py"


class NumpyModel:
    """Stands in for `LoadedModel`: the features are the outputs."""

    runtime, exact = "numpy", False

    def __init__(self, folder: Path, runtime: str = "", exact: bool | None = None, threads: int = 1) -> None:
        self.manifest = read_manifest(folder)
        self.recipe = load_snapshot(folder / "recipe", self.manifest.recipe).recipe
        self.folder = folder
        self.calls: list[int] = []

    def featurize(self, rows: Columns) -> np.ndarray:
        return self.recipe.featurize(rows)

    def forward(self, features: np.ndarray) -> np.ndarray:
        self.calls.append(len(features))
        return features

    def answer(self, rows: Columns) -> Columns:
        return self.recipe.answer(self.forward(self.featurize(rows)))


def write_package(folder: Path, class_name: str) -> Path:
    loaded = load_recipe(f"{RECIPES}:{class_name}")
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(
        json.dumps(
            {
                "schema_version": 1,
                "digest": "d" * 64,
                "recipe": snapshot(loaded, folder / "recipe"),
                "recipe_digest": loaded.digest,
                "task": loaded.recipe.task,
                "parameters": {},
                "inputs": [
                    {"name": c.name, "dtype": c.dtype, "shape": list(c.shape), "description": c.description}
                    for c in loaded.recipe.inputs()
                ],
                "classes": [],
                "metrics": {},
                "provenance": {"chandlery.model_version": "3"},
            }
        )
    )
    return folder


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(model_module, "LoadedModel", NumpyModel)


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., ChandleryModel]:
    def make(class_name: str = "Flights", **changes: object) -> ChandleryModel:
        folder = tmp_path / class_name
        if not folder.exists():
            write_package(folder, class_name)
        settings = Settings(
            model_uri=str(folder),
            model_name="flights",
            unit="flights",
            predictor="v3",
            deployment="delays",
            image="chandlery-python:1.2",
        )
        model = ChandleryModel(settings=replace(settings, **changes))
        model.load()
        return model

    return make


@pytest.fixture
def make_client(make_model: Callable[..., ChandleryModel]) -> Iterator[Callable[..., TestClient]]:
    clients: list[TestClient] = []

    def make(class_name: str = "Flights", **changes: object) -> TestClient:
        model = make_model(class_name, **changes)
        client = TestClient(create_app(model, model.settings), raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)
