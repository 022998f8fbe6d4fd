"""Submits an Experiment, observes it, collects its result, and cleans up when it has to be given up."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import FrameType
from typing import Any

from chandlery.errors import ConflictError, DeadlineError, NotFoundError, SearchError
from chandlery.progress import report
from chandlery.recipe import Value
from chandlery.resources import EXPERIMENT, TRIAL, ResourceStore
from chandlery.resources.experiment import EXPERIMENT_LABEL, check_experiment
from chandlery.resources.experiment_space import dimensions
from chandlery.resources.experiment_status import TERMINAL_TRIAL, condition, objective_value, state_of
from chandlery.resources.port import Document

OWNER = "chandlery"

HEARTBEAT_SECONDS = 10.0
TAKE_UP_SECONDS = 120.0  # within this a controller must have seen a new Experiment

_POLL_SECONDS = 0.5
_GONE_SECONDS = 60.0


@dataclass(frozen=True)
class TrialResult:
    """One trial.

    Attributes:
        name: its name.
        state: Succeeded, EarlyStopped, Failed, MetricsUnavailable, Killed, Running or Pending.
        parameters: its hyperparameters.
        objective: value of the objective; None when it has none.
        seconds: how long it took; None while it has not ended.
        message: why, when it failed.
    """

    name: str
    state: str
    parameters: dict[str, Value]
    objective: float | None
    seconds: float | None
    message: str


@dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    Attributes:
        experiment: name of the Experiment.
        metric: name of the objective.
        maximise: a larger objective is better.
        best: name of the best trial.
        parameters: its hyperparameters.
        objective: its objective.
        trials: all trials in the order of their start.
        reason: why the search ended: goal reached, count reached, space exhausted.
        document: the Experiment as it is at the end.
    """

    experiment: str
    metric: str
    maximise: bool
    best: str
    parameters: dict[str, Value]
    objective: float
    trials: tuple[TrialResult, ...]
    reason: str
    document: Document


def run_search(store: ResourceStore, document: Document, *, deadline_seconds: float) -> SearchResult:
    """Submit, observe and collect; cancel when the wait ends in any way but the search's own.

    Args:
        store: the resources endpoint.
        document: the Experiment.
        deadline_seconds: how long to wait for its end.

    Raises:
        SearchError: the Experiment failed; it stays, to be looked at.
        DeadlineError: it did not end in time; it was cancelled.
        InvalidDocumentError: the Experiment is not valid; nothing was created.
    """
    check_experiment(document)
    name, namespace = document["metadata"]["name"], document["metadata"].get("namespace", "default")
    with _terminable():
        try:
            submit(store, document)
            ended = observe(store, name, namespace, deadline_seconds=deadline_seconds)
        except SearchError:
            raise
        except (
            BaseException
        ):  # a deadline, SIGTERM, Ctrl-C, a lost API server: no step waits for it any longer
            cancel(store, name, namespace)
            raise
    return result(store, ended)


def submit(store: ResourceStore, document: Document) -> Document:
    """Create the Experiment, or find the one of an earlier try; return it.

    A name stands for run, task and content (see `build_experiment`), so one that is there is our own earlier work: it
    is kept while it runs and when it succeeded. One that failed is replaced: a retry is meant to try again.

    Raises:
        InvalidDocumentError: it is not valid; nothing was created.
        DeadlineError: an earlier one is being deleted and does not go.
    """
    check_experiment(document)
    name, namespace = document["metadata"]["name"], document["metadata"].get("namespace", "default")
    earlier = _get(store, name, namespace)
    if earlier and "deletionTimestamp" not in earlier["metadata"]:
        if not condition(earlier, "Failed"):
            report("experiment.found", f"experiment {name}: found, continuing", experiment=name)
            return earlier
        report("experiment.replaced", f"experiment {name}: failed before, starting again", experiment=name)
        cancel(store, name, namespace)
    elif earlier:
        _wait_gone(store, name, namespace)
    submitted = store.apply(document, owner=OWNER)
    report("experiment.submitted", f"experiment {name}: submitted", experiment=name)
    return submitted


def observe(store: ResourceStore, name: str, namespace: str, *, deadline_seconds: float) -> Document:
    """Wait for the Experiment to succeed, reporting each trial that ends and at least every 10 s; return it.

    Raises:
        SearchError: it failed, was deleted, or no controller took it up.
        DeadlineError: it did not end in time; it still runs.
    """
    start = time.monotonic()
    last_report = start
    reported: set[str] = set()
    while True:
        document = _get(store, name, namespace)
        if document is None or "deletionTimestamp" in document["metadata"]:
            raise SearchError(f"experiment {name} was deleted while it ran", "run the step again")
        failed, succeeded = condition(document, "Failed"), condition(document, "Succeeded")
        for trial in trials_of(store, document):
            if trial.state in TERMINAL_TRIAL and trial.name not in reported:
                reported.add(trial.name)
                last_report = time.monotonic()
                _report_trial(document, trial, len(reported))
        if succeeded:
            return document
        if failed:
            raise SearchError(f"experiment {name} failed: {_why(store, document, failed)}", _where(document))
        now = time.monotonic()
        if now - start > deadline_seconds:
            raise DeadlineError(
                f"experiment {name} did not end within {deadline_seconds:g} s ({len(reported)} trials ended)",
                "allow more time (deadline_seconds), or fewer trials",
            )
        if not document.get("status") and now - start > TAKE_UP_SECONDS:
            raise DeadlineError(
                f"experiment {name}: no controller took it up within {TAKE_UP_SECONDS:g} s",
                "on a laptop see `chandlery status`, on a cluster the Katib controller",
            )
        if now - last_report > HEARTBEAT_SECONDS:
            last_report = now
            _report_waiting(document, now - start)
        _wait_changed(store, document)


def result(store: ResourceStore, document: Document) -> SearchResult:
    """Collect the result of an Experiment that succeeded.

    Raises:
        SearchError: it has no best trial.
    """
    name, objective = document["metadata"]["name"], document["spec"]["objective"]
    trials = trials_of(store, document)
    best_name = document["status"].get("currentOptimalTrial", {}).get("bestTrialName", "")
    best = next((trial for trial in trials if trial.name == best_name), None)
    if best is None or best.objective is None:
        raise SearchError(
            f"experiment {name} ended without a best trial: none gave {objective['objectiveMetricName']}",
            _where(document),
        )
    return SearchResult(
        experiment=name,
        metric=objective["objectiveMetricName"],
        maximise=objective["type"] == "maximize",
        best=best.name,
        parameters=best.parameters,
        objective=best.objective,
        trials=trials,
        reason=condition(document, "Succeeded").get("message", ""),
        document=document,
    )


def cancel(store: ResourceStore, name: str, namespace: str) -> None:
    """Delete the Experiment, which ends its trials, and wait until it is gone."""
    store.delete(EXPERIMENT, name, namespace)
    _wait_gone(store, name, namespace)


def trials_of(store: ResourceStore, document: Document) -> tuple[TrialResult, ...]:
    """Return the trials of an Experiment in the order of their start."""
    metadata = document["metadata"]
    space = {d.name: d for d in dimensions(document["spec"]["parameters"])}
    found = []
    for trial in store.list(TRIAL, metadata["namespace"], f"{EXPERIMENT_LABEL}={metadata['name']}"):
        owners = {owner["uid"] for owner in trial["metadata"].get("ownerReferences", ())}
        if metadata["uid"] not in owners:
            continue  # of an earlier Experiment of the same name, about to go
        status = trial.get("status") or {}
        state = state_of(trial)
        parameters = {
            a["name"]: space[a["name"]].value(a["value"])
            for a in trial["spec"].get("parameterAssignments") or ()
        }
        value = objective_value(status.get("observation"), document["spec"]["objective"])
        usable = state in ("Succeeded", "EarlyStopped")
        found.append(
            (
                trial["metadata"]["creationTimestamp"],
                TrialResult(
                    trial["metadata"]["name"],
                    state,
                    parameters,
                    value if usable else None,
                    _seconds(status),
                    condition(trial, state).get("message", "")
                    if state in ("Failed", "MetricsUnavailable")
                    else "",
                ),
            )
        )
    found.sort(key=lambda pair: (pair[0], pair[1].name))
    return tuple(trial for _, trial in found)


def _get(store: ResourceStore, name: str, namespace: str) -> Document | None:
    try:
        return store.get(EXPERIMENT, name, namespace)
    except NotFoundError:
        return None


def _wait_changed(store: ResourceStore, document: Document) -> None:
    """Wait until the Experiment is no longer as `document` has it, at most `_POLL_SECONDS`."""
    metadata = document["metadata"]
    try:
        for event in store.watch(
            EXPERIMENT, metadata["namespace"], since=metadata["resourceVersion"], deadline=_POLL_SECONDS
        ):
            if event.document["metadata"]["name"] == metadata["name"]:
                return
    except ConflictError:  # so much has changed since then that the store no longer remembers it all
        time.sleep(_POLL_SECONDS)


def _wait_gone(store: ResourceStore, name: str, namespace: str) -> None:
    deadline = time.monotonic() + _GONE_SECONDS
    while _get(store, name, namespace):
        if time.monotonic() > deadline:
            raise DeadlineError(
                f"experiment {name} is not gone {_GONE_SECONDS:g} s after its deletion",
                "see its finalizers; the Katib controller removes them",
            )
        time.sleep(_POLL_SECONDS)


def _seconds(status: Mapping[str, Any]) -> float | None:
    if not status.get("startTime") or not status.get("completionTime"):
        return None
    start, end = (datetime.fromisoformat(status[key]) for key in ("startTime", "completionTime"))
    return (end - start).total_seconds()


def _why(store: ResourceStore, document: Document, failed: Mapping[str, str]) -> str:
    messages = [f"{t.name}: {t.message}" for t in trials_of(store, document) if t.message]
    return "; last trial that failed: ".join([failed.get("message", ""), *messages[-1:]])


def _where(document: Document) -> str:
    metadata = document["metadata"]
    return f"see the logs of its trials: experiments/{metadata['namespace']}/{metadata['name']} in CHANDLERY_HOME, or their pods"


def _report_trial(document: Document, trial: TrialResult, ended: int) -> None:
    spec = document["spec"]
    metric, most = spec["objective"]["objectiveMetricName"], spec.get("maxTrialCount", 0)
    parameters = ", ".join(
        f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in trial.parameters.items()
    )
    outcome = (
        f"{metric}={trial.objective:.4f}" if trial.objective is not None else trial.message or trial.state
    )
    note = "" if trial.state == "Succeeded" or trial.objective is None else f" ({trial.state})"
    report(
        "trial.finished",
        f"trial {ended}/{most} {outcome}{note} with {parameters}",
        experiment=document["metadata"]["name"],
        trial=trial.name,
        state=trial.state,
        metric=metric,
        objective=trial.objective,
        parameters=trial.parameters,
        ended=ended,
        max_trials=most,
    )


def _report_waiting(document: Document, waited: float) -> None:
    status = document.get("status") or {}
    running, total = status.get("trialsRunning", 0), status.get("trials", 0)
    objective = document["spec"]["objective"]
    best = objective_value((status.get("currentOptimalTrial") or {}).get("observation"), objective)
    so_far = "" if best is None else f", best {objective['objectiveMetricName']}={best:.4f}"
    report(
        "experiment.waiting",
        f"experiment {document['metadata']['name']}: {total} trials so far, {running} running{so_far}, {waited:.0f} s",
        experiment=document["metadata"]["name"],
        trials=total,
        running=running,
        waited=waited,
        best=best,
    )


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that what is under way can be cancelled; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
