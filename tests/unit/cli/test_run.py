"""`chandlery run` starts the services that the components need, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from chandlery import addresses, catalog
from chandlery.canary.parameters import check_pipeline
from chandlery.cli.run import _services, run
from chandlery.errors import UserError


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


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("primary=accuracy", "guard-rails"),
        ("guardrails=[errors]", "guard-rails"),
        ("guardrails=[wrong, latency]", "valid metrics: wrong, errors, slow, refused"),
        ("canary_weights=[5, 25]", "end in 100"),
        ("canary_margin=1", "greater than 1"),
        ("canary_deadline_seconds=0", "positive"),
    ],
)
def test_what_the_canary_would_refuse_is_refused_before_the_search(
    tmp_path: Path, pair: str, says: str
) -> None:
    recipe = f"recipe={catalog.assets('examples')}/digits/recipe.py:Digits"
    with pytest.raises(UserError) as caught:
        run(
            "train_and_deploy",
            [recipe, "repo=digits", "model_name=digits", pair],
            caching=True,
            dry_run=False,
            verbose=False,
            as_json=False,
        )
    assert says in str(caught.value)
    assert list(tmp_path.iterdir()) == [], "nothing was started"


def test_the_margin_of_the_comparison_is_not_that_of_the_canary() -> None:
    check_pipeline({"margin": 0.01, "primary": "errors", "seed": 3})
