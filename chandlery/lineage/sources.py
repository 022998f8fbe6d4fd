"""Reads each system for the thread. A system that does not answer is named, and the rest is still shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from chandlery import provenance
from chandlery.addresses import endpoints
from chandlery.canary.decision.state import ANNOTATION as CANARY
from chandlery.canary.decision.state import CanaryState
from chandlery.errors import ChandleryError, InvalidDocumentError, NotFoundError
from chandlery.lineage.requests import LoggedRequest, find_request
from chandlery.platform import open_resources
from chandlery.provenance import Provenance
from chandlery.resources.experiment import EXPERIMENT_LABEL
from chandlery.resources.experiment_status import last_condition, objective_value
from chandlery.resources.port import EXPERIMENT, SELDON_DEPLOYMENT, TRIAL, Document

COMMIT = re.compile(r"[0-9a-f]{32}")

T = TypeVar("T")


@dataclass(frozen=True)
class DataCommit:
    """One commit: repo, id, its branch, its message, when it was finished (ISO)."""

    repo: str
    commit: str
    branch: str = ""
    message: str = ""
    finished: str = ""


@dataclass(frozen=True)
class LocalRun:
    """One run of this machine: name of the pipeline, state, start (seconds since the epoch), the commit it used."""

    run_id: str
    pipeline: str
    state: str
    started: float
    commit: str


@dataclass(frozen=True)
class Search:
    """One Experiment with its trials."""

    name: str
    record: Provenance
    state: str
    best: str
    trials: tuple[tuple[str, str, str], ...]  # name, objective, parameters


@dataclass(frozen=True)
class Served:
    """One predictor of a deployment."""

    namespace: str
    deployment: str
    state: str
    predictor: str
    traffic: int
    shadow: bool
    model_name: str
    version: str
    canary: str = ""  # of the deployment: which version, at what weight or how it ended


class Sources:
    """The five systems and this machine's records, each read when it is needed.

    Attributes:
        searched: where was looked, for the message when nothing is found.
    """

    def __init__(self) -> None:
        """Read the endpoints."""
        self._endpoints = endpoints()
        self.searched: list[str] = []
        self._read: dict[str, Any] = {}

    # Data

    def commit(self, repo: str, ref: str) -> DataCommit | None:
        """Return the commit that `repo@ref` names; `repo` may be "" for an id alone."""
        return self._ask(f"data at {self._endpoints.data}", lambda: self._commit(repo, ref), None)

    def _commit(self, repo: str, ref: str) -> DataCommit | None:
        from chandlery.data.client import connect
        from chandlery.data.references import inspect, repos

        with connect() as client:
            for name in [repo] if repo else repos(client):
                try:
                    info = inspect(client, name, ref, _commit_message(name, ref))
                except NotFoundError:
                    continue
                if not repo and info.origin is not None and info.origin.kind == 2:
                    continue  # the same id in a repo downstream: the data came from the other
                record = provenance.read_description(info.description)
                return DataCommit(
                    repo=name,
                    commit=info.commit.id,
                    branch=info.commit.branch.name if info.commit.branch else record.data_branch,
                    message=_message(info.description),
                    finished=info.finished.isoformat(timespec="seconds")
                    if info.finished.timestamp() > 0
                    else "",
                )
        return None

    # Runs

    def run(self, run_id: str) -> LocalRun | None:
        """Return this machine's record of a run."""
        return next((run for run in self.runs() if run.run_id == run_id), None)

    def runs(self) -> list[LocalRun]:
        """Return this machine's runs."""
        return self._once(f"runs in {self._endpoints.home / 'runs'}", self._runs)

    def _runs(self) -> list[LocalRun]:
        from chandlery.runs.record import all_runs

        return [
            LocalRun(
                run_id=record.run_id,
                pipeline=record.pipeline,
                state=record.state,
                started=record.started,
                commit=self._commit_of(record.run_id),
            )
            for record in reversed(all_runs(self._endpoints.home))
        ]

    def _commit_of(self, run_id: str) -> str:
        from chandlery.runs import read_notes

        if "://" in self._endpoints.artifacts:
            return ""
        return next((note.facts.commit for note in read_notes(run_id) if note.facts.commit), "")

    # Searches and deployments

    def searches(self) -> list[Search]:
        """Return the Experiments of the namespace."""
        return self._once(f"experiments at {self._endpoints.resources}", self._searches)

    def _searches(self) -> list[Search]:
        store = open_resources()
        try:
            namespace = self._endpoints.namespace
            trials = store.list(TRIAL, namespace)
            return [_search(d, trials) for d in store.list(EXPERIMENT, namespace)]
        finally:
            store.close()

    def served(self) -> list[Served]:
        """Return the predictors of all deployments of the namespace."""
        return self._once(f"deployments at {self._endpoints.resources}", self._served)

    def _served(self) -> list[Served]:
        store = open_resources()
        try:
            documents = store.list(SELDON_DEPLOYMENT, self._endpoints.namespace)
        finally:
            store.close()
        return [entry for document in documents for entry in _predictors(document)]

    # Versions

    def versions(self, **labels: str) -> list[Any]:
        """Return the model versions whose tags `chandlery.<name>` have these values, as `VersionInfo`."""
        from chandlery.registry.versions import find

        tags = {provenance.TAG_PREFIX + name: value for name, value in labels.items()}
        return self._ask(f"MLflow at {self._mlflow}", lambda: find(tags), [])

    def version(self, name: str, number: str) -> Any | None:
        """Return one model version as `VersionInfo`, or None."""
        from chandlery.registry.versions import version_info

        return self._ask(f"MLflow at {self._mlflow}", lambda: version_info(name, number), None)

    # Requests

    def request(self, request_id: str) -> LoggedRequest | None:
        """Return a logged prediction."""
        where = f"requests in {self._endpoints.home / 'requests'}"
        return self._ask(where, lambda: find_request(self._endpoints.home, request_id), None)

    @property
    def _mlflow(self) -> str:
        return self._endpoints.mlflow or "(not configured)"

    def _once(self, where: str, read: Callable[[], list[T]]) -> list[T]:
        """Read a list that many questions need, once."""
        if where not in self._read:
            nothing: list[T] = []
            self._read[where] = self._ask(where, read, nothing)
        found: list[T] = self._read[where]
        return found

    def _ask(self, where: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            found = read()
        except NotFoundError:
            found = otherwise
        except ChandleryError as error:
            where, found = f"{where} (not readable: {error.message})", otherwise
        if where not in self.searched:
            self.searched.append(where)
        return found


def _commit_message(repo: str, ref: str) -> Any:
    from pachyderm_sdk.api import pfs

    from chandlery.data.references import branch_message, repo_message

    if COMMIT.fullmatch(ref):
        return pfs.Commit(repo=repo_message(repo), id=ref)
    return pfs.Commit(repo=repo_message(repo), branch=branch_message(repo, ref))


def _message(description: str) -> str:
    try:
        values = json.loads(description)
    except ValueError:
        return description
    return str(values.get("message", "")) if isinstance(values, dict) else description


def _search(document: Document, trials: list[Document]) -> Search:
    metadata, status = document["metadata"], document.get("status") or {}
    own = [t for t in trials if (t["metadata"].get("labels") or {}).get(EXPERIMENT_LABEL) == metadata["name"]]
    objective = document.get("spec", {}).get("objective", {})
    return Search(
        name=metadata["name"],
        record=provenance.read(metadata.get("annotations") or {}),
        state=last_condition(document),
        best=str((status.get("currentOptimalTrial") or {}).get("bestTrialName", "")),
        trials=tuple((t["metadata"]["name"], _objective(t, objective), _parameters(t)) for t in own),
    )


def _objective(trial: Document, objective: Mapping[str, Any]) -> str:
    if not objective:
        return ""
    value = objective_value((trial.get("status") or {}).get("observation"), objective)
    return "" if value is None else f"{objective['objectiveMetricName']} {value:g}"


def _parameters(trial: Document) -> str:
    assignments = (trial.get("spec") or {}).get("parameterAssignments") or ()
    return " ".join(f"{a['name']}={a['value']}" for a in assignments)


def _predictors(document: Document) -> list[Served]:
    from chandlery.deployments.spec import from_seldon

    try:
        spec = from_seldon(document)
    except InvalidDocumentError:
        return []  # a deployment that Chandlery did not write: nothing leads to it
    state = str((document.get("status") or {}).get("state", ""))
    canary = _canary((document["metadata"].get("annotations") or {}).get(CANARY, ""))
    variants = [(v, False) for v in spec.variants] + ([(spec.shadow, True)] if spec.shadow else [])
    return [
        Served(
            spec.namespace,
            spec.name,
            state,
            v.predictor,
            v.weight,
            shadow,
            _model(v.uri, spec.model_name),
            v.version,
            canary,
        )
        for v, shadow in variants
    ]


def _canary(text: str) -> str:
    try:
        state = CanaryState.from_json(text)
    except InvalidDocumentError:
        return ""
    if state.phase == "finished":
        return f"{state.challenger} {state.verdict.replace('_', ' ')}: {state.reason}"
    return f"{state.challenger} at {state.weight} %"


def _model(uri: str, otherwise: str) -> str:
    # models:/name/12 is exact; the name in the document may have been made fit for Kubernetes.
    match = re.fullmatch(r"models:/([^/]+)/\d+", uri)
    return match[1] if match else otherwise
