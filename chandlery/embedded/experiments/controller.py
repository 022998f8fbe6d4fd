"""The reconcile loop: compares the documents in the store with the running trials, and makes one step towards them."""

from __future__ import annotations

import copy
import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chandlery import addresses
from chandlery.embedded.experiments import metrics, status, suggestions, template, wrapper
from chandlery.embedded.experiments.process import MAX_ATTEMPTS, TrialProcess, wait_for_any
from chandlery.embedded.resources import EmbeddedStore, open_own_store
from chandlery.errors import ChandleryError, ConflictError, NotFoundError, PlatformError
from chandlery.processes.locks import claim
from chandlery.resources import EXPERIMENT, TRIAL, Kind
from chandlery.resources.experiment import EXPERIMENT_LABEL, check_experiment, settings_of
from chandlery.resources.experiment_status import UNAVAILABLE, objective_value
from chandlery.resources.port import Document

OWNER = "katib-controller"
KNOWN_ANNOTATION = "chandlery.io/known-trials"

_PERIOD_SECONDS = 0.2
_FULL_SECONDS = 1.0  # between tries while the disk is full
_DEFAULT_PARALLEL = 3  # Katib's own


def run(stop: threading.Event) -> None:
    """Reconcile until `stop` is set; see `chandlery.embedded.experiments.run_controller`."""
    store = open_own_store("experiments controller")
    folder = addresses.home() / "experiments"
    with _alone(folder, stop):
        controller = Controller(store, folder)
        reported = False
        try:
            while not stop.is_set():
                problem = _reconcile(controller, folder)
                if problem and not reported:
                    print(f"waiting for room on the disk: {problem}", file=sys.stderr, flush=True)
                reported = bool(problem)
                if problem:
                    stop.wait(_FULL_SECONDS)
                else:
                    controller.wait(_PERIOD_SECONDS)
        finally:
            controller.end_all()
            store.close()


def _reconcile(controller: Controller, folder: Path) -> str:
    """Make one step; return what a full disk kept it from, empty when nothing did."""
    try:
        controller.reconcile()
    except PlatformError as error:
        if wrapper.has_room(str(folder)):
            raise
        # Trials that run need not end for it: those that begin or end now wait for room.
        return str(error)
    return ""


class Controller:
    """Reconciles every Experiment of a store.

    Args:
        store: where Experiments and Trials are.
        folder: where trials keep their files: `<namespace>/<experiment>/<trial>/`.
    """

    def __init__(self, store: EmbeddedStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._experiments = _Cache(store, EXPERIMENT)
        self._trials = _Cache(store, TRIAL)
        self._processes: dict[str, TrialProcess] = {}  # by uid of the Trial; those that may run
        self._suggesters: dict[str, suggestions.Suggester] = {}  # by uid of the Experiment
        self._swept = False

    def reconcile(self) -> None:
        """Look at everything once; never waits for a trial."""
        self._experiments.refresh()
        self._trials.refresh()
        if not self._swept:
            self._end_orphans()
            self._swept = True
        owned: dict[str, list[Document]] = {}
        for trial in self._trials.documents():
            if not _owner_uid(trial):
                continue  # not a Trial of this controller
            owned.setdefault(_owner_uid(trial), []).append(trial)
        alive = {experiment["metadata"]["uid"] for experiment in self._experiments.documents()}
        for uid, trials in owned.items():
            if uid not in alive:
                # Their Experiment was deleted. First of all, as a new one of the same name uses the same names.
                for trial in trials:
                    self._discard(trial)
        for experiment in self._experiments.documents():
            trials = sorted(owned.get(experiment["metadata"]["uid"], []), key=_index)
            try:
                self._reconcile_experiment(experiment, trials)
            except (ConflictError, NotFoundError):
                continue  # it changed under our hands; the next step sees it as it is
            except PlatformError:
                raise  # such as a full disk: not the fault of an Experiment
            except Exception as error:  # one bad Experiment must not stop the others
                if isinstance(error, OSError) and error.errno in wrapper.FULL:
                    raise _no_room(self._folder) from error
                traceback.print_exc()
                self._give_up(experiment, trials, error)

    def wait(self, seconds: float) -> None:
        """Wait until a trial that was started here ends, at most `seconds`."""
        wait_for_any(self._processes.values(), seconds)

    def end_all(self) -> None:
        """End every process; their trials stay unfinished and are run again by the next controller."""
        for process in self._processes.values():
            process.end()

    def _reconcile_experiment(self, experiment: Document, trials: list[Document]) -> None:
        if status.is_set(experiment, *status.TERMINAL_EXPERIMENT):
            self._suggesters.pop(experiment["metadata"]["uid"], None)
            for trial in trials:
                self._kill(trial)
            return
        after = copy.deepcopy(experiment.get("status") or {})
        if not after:
            after["startTime"] = status.now()
            status.set_condition(after, "Created", "ExperimentCreated", "Experiment is created")
        exhausted = False
        try:
            suggester = self._suggester(experiment)
            trials = [self._advance(experiment, trial) for trial in trials]
            status.summarise(after, experiment["spec"]["objective"], trials)
            status.conclude(after, experiment["spec"], trials, exhausted=False)
            if not _is_over(after):
                trials, exhausted = self._add_trials(experiment, trials, suggester)
        except ChandleryError as error:
            if isinstance(error, ConflictError | NotFoundError | PlatformError):
                raise
            status.fail(after, f"{error.message}: {error.hint}" if error.hint else error.message)
        else:
            status.summarise(after, experiment["spec"]["objective"], trials)
            if not _is_over(after):
                status.conclude(after, experiment["spec"], trials, exhausted=exhausted)
            if not _is_over(after):
                status.set_condition(after, "Running", "ExperimentRunning", "Experiment is running")
        if _is_over(after):
            # First the trials, then the verdict: a reader that sees the verdict sees trials that have all ended.
            trials = [self._kill(trial) for trial in trials]
            status.summarise(after, experiment["spec"].get("objective") or {}, trials)
        if after != experiment.get("status"):
            after["lastReconcileTime"] = status.now()
            self._experiments.put(self._store.update_status({**experiment, "status": after}))

    def _give_up(self, experiment: Document, trials: list[Document], error: Exception) -> None:
        after = copy.deepcopy(experiment.get("status") or {"startTime": status.now()})
        status.fail(after, f"{type(error).__name__}: {error}")
        status.summarise(
            after, experiment["spec"].get("objective") or {}, [self._kill(trial) for trial in trials]
        )
        self._experiments.put(self._store.update_status({**experiment, "status": after}))

    def _suggester(self, experiment: Document) -> suggestions.Suggester:
        uid = experiment["metadata"]["uid"]
        if uid not in self._suggesters:
            check_experiment(experiment)
            self._suggesters[uid] = suggestions.make_suggester(experiment)
        return self._suggesters[uid]

    def _add_trials(
        self, experiment: Document, trials: list[Document], suggester: suggestions.Suggester
    ) -> tuple[list[Document], bool]:
        """Start trials while there is room; return all trials and whether the suggestions have come to their end."""
        spec = experiment["spec"]
        parallel = spec.get("parallelTrialCount") or _DEFAULT_PARALLEL
        most = spec.get("maxTrialCount")
        while most is None or len(trials) < most:
            active = [trial for trial in trials if not status.is_set(trial, *status.TERMINAL_TRIAL)]
            if len(active) >= parallel:
                break
            known = _known(experiment, trials, parallel)
            if known is None:
                break
            past = [_past(trial, spec["objective"]) for trial in trials]
            assignments = suggester.suggest(past, known)
            if assignments is None:
                return trials, True
            trial = self._create(experiment, len(trials), assignments, known, trials)
            trials = [*trials, self._advance(experiment, trial)]
        return trials, False

    def _create(
        self,
        experiment: Document,
        index: int,
        assignments: Mapping[str, str],
        known: int,
        trials: Sequence[Document],
    ) -> Document:
        spec, metadata = experiment["spec"], experiment["metadata"]
        name = f"{metadata['name']}-{index:04d}"
        rules = self._rules(experiment, trials[:known])
        document = {
            "apiVersion": TRIAL.api_version,
            "kind": TRIAL.kind,
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": {EXPERIMENT_LABEL: metadata["name"]},
                "annotations": {KNOWN_ANNOTATION: str(known)},
                "ownerReferences": [
                    {
                        "apiVersion": EXPERIMENT.api_version,
                        "kind": EXPERIMENT.kind,
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "spec": {
                "objective": spec["objective"],
                "parameterAssignments": [{"name": key, "value": value} for key, value in assignments.items()],
                "runSpec": template.substituted(
                    spec["trialTemplate"], assignments, {"Name": name, "Namespace": metadata["namespace"]}
                ),
                "primaryContainerName": spec["trialTemplate"]["primaryContainerName"],
                "metricsCollector": spec.get("metricsCollectorSpec") or {"collector": {"kind": "StdOut"}},
                "retainRun": bool(spec["trialTemplate"].get("retain")),
                **({"earlyStoppingRules": metrics.rules_to_katib(rules)} if rules else {}),
            },
        }
        self._command(document, self._folder)  # what cannot run is refused before there is a Trial
        trial = self._store.apply(document, owner=OWNER)
        self._trials.put(trial)
        return trial

    def _command(self, trial: Document, folder: Path) -> template.Command:
        spec = trial["spec"]
        return template.command(
            spec["runSpec"], spec["primaryContainerName"], spec["metricsCollector"], folder
        )

    def _rules(self, experiment: Document, trials: Sequence[Document]) -> list[metrics.Rule]:
        stopping = experiment["spec"].get("earlyStopping")
        if not stopping:
            return []
        succeeded = [trial for trial in trials if status.is_set(trial, "Succeeded")]
        finished = [self._readings(trial, self._process(trial)) for trial in succeeded]
        return metrics.median_rules(finished, experiment["spec"]["objective"], settings_of(stopping))

    def _advance(self, experiment: Document, trial: Document) -> Document:
        """Bring one Trial a step further; return it as it is then."""
        if status.is_set(trial, *status.TERMINAL_TRIAL):
            return trial
        process = self._process(trial)
        after = copy.deepcopy(trial.get("status") or {})
        if not after:
            after["startTime"] = status.now()
            status.set_condition(after, "Created", "TrialCreated", "Trial is created")
        # In this order: whether it runs, then what it wrote, so that nothing written at the end is missed.
        running = process.is_running()
        ended = process.ended()
        objective = trial["spec"]["objective"]
        rules = metrics.rules_from_katib(trial["spec"].get("earlyStoppingRules") or ())
        found = self._readings(trial, process) if rules or ended is not None else []
        cut = metrics.stopped_at(found, rules, objective)
        if cut is not None:
            # The log decides, not the moment at which we looked: what came after the cut does not count.
            process.end()
            _observe(after, found[:cut], objective)
            _set_terminal(after, "EarlyStopped", "TrialEarlyStopped", "Trial is early stopped")
        elif ended is not None and not running:
            _observe(after, found, objective)
            self._set_end(after, process, ended.code, ended.reason)
        elif running:
            status.set_condition(after, "Running", "TrialRunning", "Trial is running")
        elif process.attempts >= MAX_ATTEMPTS:
            how = f"its process was killed {process.attempts} times; if no person killed it, the machine's memory ran out"
            _set_terminal(after, "Failed", "TrialFailed", how)
        elif not wrapper.has_room(str(self._folder)):
            raise _no_room(self._folder)  # it would not be the trial's fault that it fails
        else:
            process.start(self._command(trial, process.folder))
            status.set_condition(after, "Running", "TrialRunning", "Trial is running")
        return self._write(trial, after)

    def _set_end(self, after: Document, process: TrialProcess, code: int, reason: str) -> None:
        if code != 0 or reason:
            how = reason or (f"exit code {code}" if code > 0 else f"ended by signal {-code}")
            words = process.last_words()
            _set_terminal(after, "Failed", "TrialFailed", f"{how}: {words}" if words else how)
        elif after["observation"]["metrics"][0]["latest"] == UNAVAILABLE:
            message = f"it printed no {after['observation']['metrics'][0]['name']}=<number>"
            _set_terminal(after, "MetricsUnavailable", "MetricsUnavailable", message)
        else:
            _set_terminal(after, "Succeeded", "TrialSucceeded", "Trial has succeeded")

    def _kill(self, trial: Document) -> Document:
        if status.is_set(trial, *status.TERMINAL_TRIAL):
            return trial
        self._process(trial).end()
        after = copy.deepcopy(trial.get("status") or {})
        _set_terminal(after, "Killed", "TrialKilled", "Trial is killed: its Experiment is completed")
        return self._write(trial, after)

    def _discard(self, trial: Document) -> None:
        process = self._process(trial)
        process.end()
        self._processes.pop(trial["metadata"]["uid"], None)
        self._store.delete(TRIAL, trial["metadata"]["name"], trial["metadata"]["namespace"])
        self._trials.drop(trial)

    def _write(self, trial: Document, after: Document) -> Document:
        if after != trial.get("status"):
            trial = self._store.update_status({**trial, "status": after})
            self._trials.put(trial)
        if status.is_set(trial, *status.TERMINAL_TRIAL):
            self._processes.pop(trial["metadata"]["uid"], None)
        return trial

    def _readings(self, trial: Document, process: TrialProcess) -> list[metrics.Reading]:
        names = metrics.metric_names(trial["spec"]["objective"])
        return metrics.readings(process.log_lines(), names, trial["spec"]["metricsCollector"])

    def _process(self, trial: Document) -> TrialProcess:
        metadata = trial["metadata"]
        if metadata["uid"] not in self._processes:
            folder = (
                self._folder / metadata["namespace"] / metadata["labels"][EXPERIMENT_LABEL] / metadata["name"]
            )
            self._processes[metadata["uid"]] = TrialProcess(folder, metadata["uid"])
        return self._processes[metadata["uid"]]

    def _end_orphans(self) -> None:
        """End processes of trials that were deleted while no controller ran."""
        alive = {trial["metadata"]["uid"] for trial in self._trials.documents()}
        for path in self._folder.glob("*/*/*/run.json"):
            process = TrialProcess(path.parent, uid := _uid_of(path))
            if uid not in alive and process.is_running():
                process.end()


class _Cache:
    """The documents of one kind, kept current by watching; so a quiet step reads nothing but the newest changes."""

    def __init__(self, store: EmbeddedStore, kind: Kind) -> None:
        self._store, self._kind = store, kind
        self._documents: dict[tuple[str, str], Document] = {}
        self._since = ""

    def documents(self) -> list[Document]:
        return [self._documents[key] for key in sorted(self._documents)]

    def put(self, document: Document) -> None:
        self._documents[_key(document)] = document

    def drop(self, document: Document) -> None:
        self._documents.pop(_key(document), None)

    def refresh(self) -> None:
        try:
            self._read()
        except ConflictError:  # we were away for too long
            self._documents, self._since = {}, ""
            self._read()

    def _read(self) -> None:
        for event in self._store.watch(self._kind, "", since=self._since, deadline=0):
            if event.type == "DELETED":
                self.drop(event.document)
            else:
                self.put(event.document)
            version = event.document["metadata"]["resourceVersion"]
            self._since = max(self._since, version, key=lambda text: int(text or 0))


def _known(experiment: Document, trials: Sequence[Document], parallel: int) -> int | None:
    """Return of how many first trials the next one knows the results; None: one of them has yet to finish.

    The next trial looks at all but the last `parallel - 1`, finished or not, so that the search does not depend on
    which trial happens to finish first.
    """
    if not suggestions.needs_results(experiment):
        return 0
    known = max(0, len(trials) - parallel + 1)
    finished = all(status.is_set(trial, *status.TERMINAL_TRIAL) for trial in trials[:known])
    return known if finished else None


def _past(trial: Document, objective: Mapping[str, Any]) -> suggestions.Past:
    usable = status.is_set(trial, "Succeeded", "EarlyStopped")
    seen = (trial.get("status") or {}).get("observation") if usable else None
    return suggestions.Past(
        {a["name"]: a["value"] for a in trial["spec"]["parameterAssignments"]},
        int(trial["metadata"]["annotations"][KNOWN_ANNOTATION]),
        objective_value(seen, objective),
    )


def _observe(after: Document, found: Sequence[metrics.Reading], objective: Mapping[str, Any]) -> None:
    after["observation"] = metrics.observation(found, metrics.metric_names(objective))


def _set_terminal(after: Document, type_: str, reason: str, message: str) -> None:
    status.set_condition(after, type_, reason, message)
    after["completionTime"] = status.now()


def _is_over(after: Document) -> bool:
    return status.is_set({"status": after}, *status.TERMINAL_EXPERIMENT)


def _no_room(folder: Path) -> PlatformError:
    return PlatformError(f"{folder}: no space left on the disk", "free some: trials wait for it")


def _index(trial: Document) -> int:
    return int(trial["metadata"]["name"].rpartition("-")[2])


def _owner_uid(trial: Document) -> str:
    return str(next((o["uid"] for o in trial["metadata"].get("ownerReferences", ())), ""))


def _key(document: Document) -> tuple[str, str]:
    return document["metadata"]["namespace"], document["metadata"]["name"]


def _uid_of(path: Path) -> str:
    return str(json.loads(path.read_text(encoding="utf-8")).get("uid", ""))


@contextmanager
def _alone(folder: Path, stop: threading.Event) -> Iterator[None]:
    """Hold the folder's controller lock; wait for it while another controller has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = claim(folder / "controller.lock")
    if lock is None:
        print(f"another controller works in {folder}; waiting for it to end", file=sys.stderr, flush=True)
    while lock is None and not stop.wait(_PERIOD_SECONDS):
        lock = claim(folder / "controller.lock")
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)
