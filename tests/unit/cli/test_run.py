"""`chandlery run` starts the services that the components need, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from chandlery import addresses, catalog
from chandlery.cli.run import _services


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    for variable in addresses.VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)


def needed(name: str) -> set[str]:
    return _services(catalog.load_package(catalog.find(name).package))


@pytest.mark.parametrize(
    ("name", "services"),
    [
        ("validate_dataset", set()),
        ("commit_dataset", set()),
        ("register_model", {"mlflow"}),
        ("tune_hyperparameters", {"experiments"}),
        ("deploy_model", {"mlflow", "gateway", "deployments"}),
        ("train_and_deploy", {"mlflow", "gateway", "deployments", "experiments"}),
    ],
)
def test_a_package_needs_the_services_of_its_components(name: str, services: set[str]) -> None:
    assert needed(name) == services


def test_what_runs_elsewhere_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    assert needed("train_and_deploy") == {"gateway", "deployments", "experiments"}
    monkeypatch.setenv("CHANDLERY_RESOURCES", "kubernetes://")
    monkeypatch.setenv("CHANDLERY_GATEWAY", "http://gateway.example")
    assert needed("train_and_deploy") == set()


def test_a_component_of_another_origin_needs_nothing(tmp_path: Path) -> None:
    package = tmp_path / "own.yaml"
    package.write_text("pipelineInfo: {name: own}\nroot: {}\ndeploymentSpec: {executors: {}}\n")
    assert _services(catalog.load_package(package)) == set()
