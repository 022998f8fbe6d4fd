"""MLflow runs that survive a retry: found again by a key, adopted when the platform has made one, absent when there is none."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from chandlery.addresses import endpoints
from chandlery.provenance import Provenance
from chandlery.registry.client import call, open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY_TAG = "chandlery.key"
DATASET_SOURCE_TYPE = "pachyderm"
EXPERIMENT = "chandlery"
KEY_CHARACTERS = " /@:=,"  # kept as they are; quotes cannot be searched for
BATCH = 100  # parameters a request; MLflow's own limit

RUN_VARIABLE = "MLFLOW_RUN_ID"  # set by the pipeline platform when it has made a run for this task
EXPERIMENT_ID_VARIABLE = "MLFLOW_EXPERIMENT_ID"
EXPERIMENT_NAME_VARIABLE = "MLFLOW_EXPERIMENT_NAME"


class Run(Protocol):
    """The logging interface of a step. A retry may log everything again; it counts once."""

    id: str

    def log_parameters(self, values: Mapping[str, object]) -> None:
        """Log parameters; a value that is logged already stays as it is."""

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of a step (an epoch)."""

    def log_dataset(self, record: Provenance, name: str, rows: int, context: str = "training") -> None:
        """Log the dataset used, its Pachyderm commit as the source."""

    def log_artifact(self, path: Path | str, folder: str = "") -> None:
        """Upload a file, or everything in a folder, below `folder` of the run's artifacts."""

    def set_tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""


@contextmanager
def run(name: str, *, key: str, record: Provenance, tags: Mapping[str, str] | None = None) -> Iterator[Run]:
    """Open the MLflow run of this step.

    An injected run (`MLFLOW_RUN_ID`) is adopted and never ended. Otherwise the step's own earlier run, found by `key`,
    is continued, or a new one made; it ends as FINISHED, or FAILED when the body raises. Without a tracking server
    nothing is logged and the run's id is "".

    Args:
        name: the run's name.
        key: what makes it this run and no other, such as a digest over the step's inputs.
        record: provenance, written as tags.
        tags: further tags.

    Raises:
        RegistryError: MLflow cannot be reached, or refuses.
    """
    if not endpoints().mlflow:
        yield _NoRun()
        return
    client = open_client()
    key = quote(key, safe=KEY_CHARACTERS)
    labels = {**record.metadata(), KEY_TAG: key, **(tags or {})}
    adopted = os.environ.get(RUN_VARIABLE, "")
    run_id = adopted or _find(client, key) or _create(client, name, labels)
    opened = _MlflowRun(client, run_id)
    opened.set_tags(labels)
    if adopted:
        yield opened
        return
    call(client.update_run, run_id, status="RUNNING")
    try:
        yield opened
    except BaseException:
        _end_after_failure(client, run_id)
        raise
    call(client.set_terminated, run_id, "FINISHED")


def experiment_id(client: MlflowClient) -> str:
    """Return the id of the experiment that runs go to; made when missing.

    It is the injected one (`MLFLOW_EXPERIMENT_ID`), else `MLFLOW_EXPERIMENT_NAME`, else `chandlery`.
    """
    if given := os.environ.get(EXPERIMENT_ID_VARIABLE):
        return given
    name = os.environ.get(EXPERIMENT_NAME_VARIABLE) or EXPERIMENT
    return call(_experiment_named, client, name)


def on_run(client: MlflowClient, run_id: str) -> Run:
    """Return an existing run to log to."""
    return _MlflowRun(client, run_id)


class _MlflowRun:
    """A run on the server."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self.id = run_id

    def log_parameters(self, values: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        known = call(self._client.get_run, self.id).data.params
        fresh = [Param(name, _text(value)) for name, value in values.items() if name not in known]
        for start in range(0, len(fresh), BATCH):
            call(self._client.log_batch, self.id, params=fresh[start : start + BATCH])

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        # One time for all tries: MLflow keeps equal (name, time, step, value) once.
        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in values.items()]
        call(self._client.log_batch, self.id, metrics=metrics)

    def log_dataset(self, record: Provenance, name: str, rows: int, context: str = "training") -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name,
            digest=record.data_commit[:32],
            source_type=DATASET_SOURCE_TYPE,
            source=json.dumps(dataset_source(record), sort_keys=True),
            profile=json.dumps({"num_rows": rows}),
        )
        call(
            self._client.log_inputs,
            self.id,
            datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", context)])],
        )

    def log_artifact(self, path: Path | str, folder: str = "") -> None:
        log = self._client.log_artifacts if Path(path).is_dir() else self._client.log_artifact
        call(log, self.id, str(path), folder or None)

    def set_tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        call(self._client.log_batch, self.id, tags=[RunTag(k, str(v)) for k, v in values.items()])


class _NoRun:
    """Stands in where no tracking server is configured."""

    id = ""

    def log_parameters(self, values: Mapping[str, object]) -> None:
        pass

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        pass

    def log_dataset(self, record: Provenance, name: str, rows: int, context: str = "training") -> None:
        pass

    def log_artifact(self, path: Path | str, folder: str = "") -> None:
        pass

    def set_tags(self, values: Mapping[str, str]) -> None:
        pass


def dataset_source(record: Provenance) -> dict[str, str]:
    """Return where a dataset came from, in the form that is stored with it in MLflow."""
    return {
        "repo": record.data_repo,
        "branch": record.data_branch,
        "commit": record.data_commit,
        "uri": f"pachyderm://{record.data_repo}@{record.data_commit}",
    }


def _find(client: MlflowClient, key: str) -> str:
    found = call(
        client.search_runs,
        [experiment_id(client)],
        filter_string=f"tags.`{KEY_TAG}` = '{key}'",
        max_results=1,
        order_by=["attributes.start_time ASC"],
    )
    return str(found[0].info.run_id) if found else ""


def _create(client: MlflowClient, name: str, labels: Mapping[str, str]) -> str:
    experiment = experiment_id(client)
    return str(call(client.create_run, experiment, tags=dict(labels), run_name=name).info.run_id)


def _experiment_named(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:
        # Another process made it between the two calls.
        known = client.get_experiment_by_name(name)
        if known is None:
            raise
        return str(known.experiment_id)


def _end_after_failure(client: MlflowClient, run_id: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.set_terminated(run_id, "FAILED")
    except MlflowException as error:
        # The first failure is the one to report; the run shows as running until the retry continues it.
        print(f"MLflow run {run_id} could not be marked as failed: {error}", flush=True)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text[:6000]  # MLflow's limit for a parameter
