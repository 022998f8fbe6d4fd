"""The components from their compiled YAML, as a run executes them; and a version trained again from its record."""

from __future__ import annotations

import json
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chandlery.errors import UserError
from chandlery.lineage import trace
from chandlery.registry import champion, download, reproduce_command, version_info
from chandlery.registry.aliases import promote
from chandlery.registry.register import register
from chandlery.registry.versions import model_aliases
from chandlery.reproduce import main
from tests.components import run as run_pipeline

pytestmark = pytest.mark.slow

DIGITS = Path(__file__).parents[3] / "examples" / "digits"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run a component in a process of its own, artifacts imported from paths; returns its output parameters."""
    from kfp import dsl

    from chandlery.catalog import component

    kinds = {
        "model": dsl.Model,
        "metrics": dsl.Metrics,
        "evaluation": dsl.HTML,
        "comparison": dsl.HTML,
        "curves": dsl.HTML,
        "trials": dsl.Dataset,
    }

    def execute(
        name: str, outputs: list[str], artifacts: dict[str, Path], **parameters: str
    ) -> dict[str, Any]:
        @dsl.pipeline(name="one-task")
        def one_task():  # type: ignore[no-untyped-def]  # kfp reads a return annotation as an output
            imported = {
                key: dsl.importer(artifact_uri=str(path), artifact_class=kinds[key], reimport=True).output
                for key, path in artifacts.items()
            }
            component(name)(**imported, **parameters)

        values = run_pipeline(one_task, tmp_path).task(name).outputs
        return {key: values[key] for key in outputs}

    return execute


def test_register_promote_and_roll_back(
    mlflow: str, package: Any, submit: Any, model_name: str, run: Any, tmp_path: Path
) -> None:
    metrics = tmp_path / "metrics"
    metrics.write_text(json.dumps({"rows": 9, "metrics": {"mae": 0.3}, "slices": []}))
    page = tmp_path / "page"
    page.write_text("<p>")
    register(submit("a"))
    promote(model_name, "1")
    artifacts = {"model": package("b"), "metrics": metrics}
    artifacts |= dict.fromkeys(("evaluation", "comparison", "curves", "trials"), page)
    done = run("register_model", ["version", "uri", "created"], artifacts, model_name=model_name, owner="us")
    assert done == {"version": "2", "uri": f"models:/{model_name}/2", "created": "yes"}
    info = version_info(model_name, "2")
    assert info.tags["owner"] == "us"
    assert info.tags["chandlery.seed"] == "7"
    done = run(
        "promote_model", ["version", "previous_version", "changed"], {}, model_name=model_name, version="2"
    )
    assert done == {"version": "2", "previous_version": "1", "changed": "yes"}
    done = run("rollback_model", ["version", "previous_version", "changed"], {}, model_name=model_name)
    assert done == {"version": "1", "previous_version": "2", "changed": "yes"}
    assert model_aliases(model_name) == {"champion": "1", "previous_champion": "1"}
    assert champion(model_name) == "1"


def test_a_version_is_trained_again_to_the_same_weights(
    mlflow: str,
    model_name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:

    from chandlery.data import commit
    from chandlery.registry.submission import About
    from chandlery.steps.registry.register_model import register_model
    from chandlery.steps.training.train_model import train_model

    monkeypatch.setenv("CHANDLERY_RUN_ID", f"run-{model_name}")
    runpy.run_path(str(DIGITS / "data.py"))["write"](tmp_path / "raw")
    made = commit(str(tmp_path / "raw" / "history-1"), "digits")
    dataset = artifact(tmp_path / "raw" / "history-1")
    dataset.metadata.update({"chandlery.data_repo": "digits", "chandlery.data_commit": made.commit})
    model, curves = artifact(tmp_path / "model"), artifact(tmp_path / "curves")
    train_model(dataset, f"{DIGITS / 'recipe.py'}:Digits", {"epochs": 3}, 11, True, "", model, curves)
    metrics = artifact(tmp_path / "metrics")
    Path(metrics.path).write_text(json.dumps({"metrics": {"accuracy": 0.9}}))
    done = register_model(model, metrics, curves, curves, curves, metrics, model_name, About())

    info = version_info(model_name, done.version)
    assert info.tags["chandlery.seed"] == "11"
    assert info.provenance.data_commit == made.commit
    command = shlex.split(reproduce_command(f"{model_name}/{done.version}"))
    assert command == ["python", "-m", "chandlery.registry.reproduce", info.uri]
    assert main([*command[3:], "--output", str(tmp_path / "again")]) == 0
    assert f"the same model, bit for bit: {info.digest}" in capsys.readouterr().out
    assert (tmp_path / "again" / "model.keras").is_file()
    assert (download(model_name, done.version) / "saved_model").is_dir()

    # And from any of its names, the thread: the data commit as Pachyderm tells it, the run, the version.
    for ref in (info.uri, f"run-{model_name}", made.commit, "digits@master"):
        root = trace(ref)
        assert (root.kind, root.name) == ("data commit", f"digits@{made.commit}")
        assert root.details["branch"] == "master"
        assert info.uri in [node.name for node in root.find("model version")]


def test_a_model_that_is_none_is_refused(mlflow: str, tmp_path: Path, model_name: str) -> None:
    from chandlery.errors import ModelLoadError
    from chandlery.registry.submission import About
    from chandlery.steps.registry.register_model import register_model

    metrics = artifact(tmp_path / "metrics")
    Path(metrics.path).write_text(json.dumps({"metrics": {}}))
    with pytest.raises(ModelLoadError, match="not a model package"):
        register_model(artifact(tmp_path), metrics, metrics, metrics, metrics, metrics, model_name, About())
    with pytest.raises(UserError):
        version_info(model_name, "1")


def artifact(path: Path) -> Any:
    return SimpleNamespace(path=str(path), metadata={})
