"""A step's run is found again, adopted, or absent; what is logged twice counts once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chandlery.provenance import Provenance
from chandlery.registry import tracking
from chandlery.registry.client import open_client

pytestmark = pytest.mark.slow

RECORD = Provenance(run_id="run-1", data_repo="lines", data_branch="master", data_commit="ab" * 16)


def test_a_retry_continues_its_own_run(mlflow: str, model_name: str) -> None:
    with pytest.raises(KeyError), tracking.run("train", key=model_name, record=RECORD) as first:  # noqa: PT012
        first.log_parameters({"lr": 0.1, "layers": [8, 4]})
        first.log_metrics({"loss": 2.0}, step=0)
        raise KeyError("killed")
    assert open_client().get_run(first.id).info.status == "FAILED"
    with tracking.run("train", key=model_name, record=RECORD, tags={"owner": "us"}) as second:
        second.log_parameters({"lr": 0.1, "layers": [8, 4], "units": 8})
        second.log_metrics({"loss": 1.0}, step=1)
        assert open_client().get_run(second.id).info.status == "RUNNING"
    assert second.id == first.id
    kept = open_client().get_run(first.id)
    assert kept.info.status == "FINISHED"
    assert kept.data.params == {"lr": "0.1", "layers": "[8, 4]", "units": "8"}
    assert [m.value for m in open_client().get_metric_history(first.id, "loss")] == [2.0, 1.0]
    assert kept.data.tags["chandlery.data_commit"] == RECORD.data_commit
    assert kept.data.tags["owner"] == "us"


def test_another_key_is_another_run(mlflow: str, model_name: str) -> None:
    with tracking.run("train", key=f"{model_name}-a", record=RECORD) as first:
        pass
    with tracking.run("train", key=f"{model_name}-b's", record=RECORD) as second:
        pass
    with tracking.run("train", key=f"{model_name}-b's", record=RECORD) as third:
        pass
    assert first.id != second.id
    assert second.id == third.id


def test_an_injected_run_is_adopted_and_not_ended(
    mlflow: str, model_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client()
    experiment = client.create_experiment(model_name)
    injected = client.create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", injected)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    with tracking.run("train", key="any", record=RECORD) as run:
        run.log_metrics({"loss": 1.0})
    assert run.id == injected
    kept = client.get_run(injected)
    assert kept.info.status == "RUNNING"
    assert kept.data.metrics == {"loss": 1.0}
    assert kept.data.tags["chandlery.run_id"] == "run-1"


def test_the_dataset_counts_once(mlflow: str, model_name: str) -> None:
    with tracking.run("train", key=model_name, record=RECORD) as run:
        run.log_dataset(RECORD, "lines", 100)
        run.log_dataset(RECORD, "lines", 100)
    (entry,) = open_client().get_run(run.id).inputs.dataset_inputs
    assert entry.dataset.digest == RECORD.data_commit
    assert entry.dataset.source_type == "pachyderm"
    assert json.loads(entry.dataset.profile) == {"num_rows": 100}


def test_files_and_folders_are_uploaded(mlflow: str, model_name: str, tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "roc.html").write_text("<p>")
    with tracking.run("train", key=model_name, record=RECORD) as run:
        run.log_artifact(tmp_path / "plots" / "roc.html")
        run.log_artifact(str(tmp_path / "plots"), "plots")
    client = open_client()
    assert {a.path for a in client.list_artifacts(run.id)} == {"roc.html", "plots"}
    assert [a.path for a in client.list_artifacts(run.id, "plots")] == ["plots/roc.html"]


def test_many_parameters(mlflow: str, model_name: str) -> None:
    values: dict[str, Any] = {f"p{i}": i for i in range(250)}
    with tracking.run("train", key=model_name, record=RECORD) as run:
        run.log_parameters(values | {"long": "x" * 7000})
    assert len(open_client().get_run(run.id).data.params) == 251
