"""Registration keeps all eight kinds of artifact, and one version for one model, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chandlery.errors import NotFoundError
from chandlery.recipe import load_snapshot
from chandlery.registry import champion, download, version_info, versions
from chandlery.registry import register as registration
from chandlery.registry.client import call, open_client
from chandlery.registry.download import fetch
from chandlery.registry.register import register
from chandlery.registry.versions import COMPLETE, model_aliases

pytestmark = pytest.mark.slow


def test_all_eight_kinds_of_artifact_are_kept(mlflow: str, submit: Any, tmp_path: Path) -> None:
    given = submit()
    done = register(given)
    info = version_info(given.name, done.version)
    folder = tmp_path / "all"
    fetch(info, folder)
    # Definition and weights; featurize and predict functions; dependencies.
    assert (folder / "model/model.keras").read_bytes() == (given.package / "model.keras").read_bytes()
    assert (folder / "model/saved_model/variables/variables.index").is_file()
    assert "def featurize" in (folder / "model/recipe/recipe.py").read_text()
    assert (folder / "model/requirements.txt").read_text() == "numpy==2.0\n"
    # Data.
    assert json.loads((folder / "data.json").read_text())["commit"] == given.record.data_commit
    # Generation code.
    generation = json.loads((folder / "generation.json").read_text())
    assert generation["git_commit"] == "c0ffee"
    assert generation["hyperparameters"] == {"lr": 0.01, "units": 8}
    assert generation["search_space"][0]["name"] == "lr"
    assert generation["seed"] == "7"
    # Experiment artifacts.
    assert (folder / "experiment/evaluation.html").read_text() == "<p>evaluation</p>"
    assert (folder / "experiment/trials.csv").is_file()
    assert json.loads((folder / "experiment/metrics.json").read_text()) == {"mae": 0.25, "test_mae": 0.3}
    # Tags.
    assert info.tags["owner"] == "geometry"
    assert info.tags["task"] == "regression"
    assert info.provenance.data_commit == given.record.data_commit
    assert info.provenance.model_version == done.version
    # The model card, as a file and where MLflow shows it.
    card = (folder / "model_card.md").read_text()
    assert info.description.strip() == card.strip()
    for text in (
        "Draws a line.",
        "geometry",
        "Interpolation.",
        "Not beyond x = 10.",
        given.record.data_commit,
        "x<5",
    ):
        assert text in card


def test_the_dataset_is_logged_with_its_commit(mlflow: str, submit: Any) -> None:
    given = submit()
    done = register(given)
    inputs = call(open_client().get_run, done.run_id).inputs.dataset_inputs
    sources = [json.loads(entry.dataset.source) for entry in inputs]
    assert sources == [
        {
            "repo": "lines",
            "branch": "master",
            "commit": given.record.data_commit,
            "uri": f"pachyderm://lines@{given.record.data_commit}",
        }
    ]


def test_figures_belong_to_the_logged_model(mlflow: str, submit: Any) -> None:
    given = submit()
    info = version_info(given.name, register(given).version)
    logged = call(open_client().get_logged_model, info.model_id)
    assert {metric.key: metric.value for metric in logged.metrics} == {"mae": 0.25, "test_mae": 0.3}
    assert {metric.dataset_digest for metric in logged.metrics} == {given.record.data_commit}
    assert logged.params == {"lr": "0.01", "units": "8"}
    assert logged.status == "READY"


def test_the_same_model_never_gets_a_second_version(mlflow: str, submit: Any) -> None:
    first = register(submit())
    again = register(submit())
    assert (first.version, first.created) == ("1", True)
    assert (again.version, again.created) == ("1", False)
    assert len(all_versions(submit().name)) == 1


def test_another_model_becomes_the_challenger(mlflow: str, submit: Any) -> None:
    register(submit("a"))
    done = register(submit("b"))
    assert done.version == "2"
    assert model_aliases(submit().name) == {"challenger": "2"}
    assert champion(submit().name) == ""


def test_the_run_of_the_training_is_adopted(mlflow: str, submit: Any) -> None:
    from chandlery.registry import tracking

    given = submit()
    with tracking.run("train", key=given.name, record=given.record) as run:
        run.log_metrics({"mae": 0.25})
    given = replace(given, record=given.record.with_(mlflow_run_id=run.id))
    assert register(given).run_id == run.id


def test_a_run_that_the_server_does_not_know_is_replaced(mlflow: str, submit: Any) -> None:
    given = submit()
    given = replace(given, record=given.record.with_(mlflow_run_id="f" * 32))
    done = register(given)
    assert done.run_id not in ("", "f" * 32)


def test_a_pending_version_is_invisible_and_is_completed(mlflow: str, submit: Any, children: Any) -> None:
    given = submit()
    dead = children.start(_register_until, sent(given), "create_model_version", 1)
    dead.join(120)
    assert dead.exitcode == -signal.SIGKILL
    assert [info.state for info in all_versions(given.name)] == ["pending"]
    assert versions(given.name) == []
    with pytest.raises(NotFoundError):
        version_info(given.name, "1")
    with pytest.raises(NotFoundError):
        download(given.name, "1")
    assert register(given).version == "1"
    assert [info.state for info in all_versions(given.name)] == [COMPLETE]
    assert (download(given.name, "1") / "model.keras").is_file()


def test_killed_at_every_moment_and_registered_again(
    mlflow: str, submit: Any, model_name: str, children: Any
) -> None:
    killed = 0
    for moment in range(60):
        given = submit("a", f"{model_name}-{moment}")
        child = children.start(_register_until, sent(given), "", moment)
        child.join(120)
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        killed += 1
        done = register(given)
        assert [info.version for info in all_versions(given.name)] == [done.version], moment
        assert all_versions(given.name)[0].state == COMPLETE
        assert model_aliases(given.name) == {"challenger": done.version}
        assert len(_logged_models(given.name)) == 1, moment
        assert (download(given.name, done.version) / "model.keras").stat().st_size == 200_000
    assert killed >= 10
    assert child.exitcode == 0


def test_many_processes_register_the_same_model_at_once(mlflow: str, submit: Any, children: Any) -> None:
    given = submit()
    barrier, found = children.barrier(4), children.queue()
    started = [children.start(_register_together, sent(given), barrier, found) for _ in range(4)]
    outcomes = [found.get(timeout=120) for _ in started]
    for child in started:
        child.join(30)
    assert [child.exitcode for child in started] == [0] * 4
    assert len({version for version, _ in outcomes}) == 1
    assert [created for _, created in outcomes].count(True) <= 1
    kept = all_versions(given.name)
    assert [(info.version, info.state) for info in kept] == [(outcomes[0][0], COMPLETE)]
    assert len(_logged_models(given.name)) == 1
    assert (download(given.name, kept[0].version) / "model.keras").is_file()


def all_versions(name: str) -> list[Any]:
    return versions(name, incomplete=True)


def _logged_models(name: str) -> list[Any]:
    client = open_client()
    experiment = client.get_experiment_by_name("chandlery").experiment_id
    return list(client.search_logged_models([experiment], filter_string=f"name = '{name}'"))


def sent(given: Any) -> Any:
    """A submission as another process can receive it: a recipe is of a module that only its loader knows."""
    return replace(given, recipe=None)


def received(given: Any) -> Any:
    return replace(given, recipe=load_snapshot(given.package / "recipe", given.manifest.recipe).recipe)


def _register_until(given: Any, method: str, moment: int) -> None:
    """Register in this process and die right after the call number `moment` (of `method` only, when given)."""
    count = 0

    def fatal(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        nonlocal count
        result = call(function, *arguments, **named)
        if not method or getattr(function, "__name__", "") == method:
            count += 1
            if count > moment if not method else count >= moment:
                os.kill(os.getpid(), signal.SIGKILL)
        return result

    registration.call = fatal  # type: ignore[attr-defined]
    registration.tracking.call = fatal  # type: ignore[attr-defined]
    register(received(given))


def _register_together(given: Any, barrier: Any, found: Any) -> None:
    given = received(given)
    barrier.wait(120)
    done = register(given)
    found.put((done.version, done.created))
    found.close()
    found.join_thread()
