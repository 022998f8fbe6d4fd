"""Any life of a home, with collections at any moment: what is reachable stays whole, what is not and is old goes.

The world's own book says what must be there; it knows nothing of how the collection decides.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chandlery import gc, registry
from chandlery.processes import marks
from chandlery.runs.launch import only_run

from .world import DAY, Registry, World, contents

EXAMPLES = int(os.environ.get("CHANDLERY_GC_EXAMPLES", "20"))
UNLOCKED = 3600.0  # seconds for which what no lock protects must have been idle


@dataclass
class Thing:
    """Something that leaves garbage: its age since it was last used, in seconds."""

    age: float = 0.0
    extra: dict[str, object] = field(default_factory=dict)


class Life(RuleBasedStateMachine):
    """A home's life."""

    @initialize()
    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="gc-life-"))
        self.registry = Registry(self.root / "registry")
        os.environ["CHANDLERY_HOME"] = str(self.root / "home")
        os.environ["MLFLOW_TRACKING_URI"] = self.registry.address
        self.world = World(self.root / "home", self.registry)
        self.runs: dict[str, Thing] = {}
        self.checkouts: dict[str, Thing] = {}  # by commit; those on disk
        self.open: set[str] = set()
        self.models: dict[str, Thing] = {}  # downloaded, by version
        self.versions: dict[str, str] = {}  # to the run that made each
        self.deployments: dict[str, tuple[str, str]] = {}  # name -> version, run
        self.former: dict[str, Thing] = {}  # deployments that are no more, with logs
        self.trials: dict[str, Thing] = {}
        self.former_trials: dict[str, Thing] = {}
        self.seed = 0
        self.in_progress = ExitStack()
        self.running = False

    def teardown(self) -> None:
        if hasattr(self, "root"):
            self.in_progress.close()
            for commit in self.open:
                marks.release(self.world.checkout_folder(commit))
            self.registry.close()
            shutil.rmtree(self.root, ignore_errors=True)

    def _some_run(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(["", *self.runs]))

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        self.seed += 1
        self.world.commit(self.seed, self._some_run(data))

    @precondition(lambda self: self.world.commits)
    @rule()
    def drop(self) -> None:
        self.world.drop_last()

    @precondition(lambda self: self.world.commits)
    @rule(data=st.data(), keep_open=st.booleans())
    def checkout(self, data: st.DataObject, keep_open: bool) -> None:
        commit = data.draw(st.sampled_from(sorted(self.world.commits)))
        folder = self.world.checkout(commit)
        assert contents(folder) == self.world.commits[commit]
        self.checkouts[commit] = Thing()
        if keep_open:
            self.open.add(commit)
        elif commit not in self.open:
            marks.release(folder)

    @precondition(lambda self: self.open)
    @rule()
    def close(self) -> None:
        commit = self.open.pop()
        marks.release(self.world.checkout_folder(commit))

    @precondition(lambda self: not self.running)
    @rule(cached=st.booleans(), keeps=st.booleans())
    def run(self, cached: bool, keeps: bool) -> None:
        run = self.world.run(cached=cached, keeps=keeps)
        self.runs[run] = Thing(extra={"keeps": keeps, "record": True, "outputs": True, "cached": cached})

    @rule()
    def begin_or_end_a_run(self) -> None:
        if self.running:
            self.in_progress.close()
        else:
            self.in_progress.enter_context(only_run(self.world.home))
        self.running = not self.running

    @rule(data=st.data())
    def register(self, data: st.DataObject) -> None:
        run = self._some_run(data)
        self.versions[self.registry.add(run)] = run

    @precondition(lambda self: self.versions)
    @rule(data=st.data())
    def unregister(self, data: st.DataObject) -> None:
        served = {version for version, _ in self.deployments.values()}
        free = sorted(set(self.versions) - served)
        if free:
            version = data.draw(st.sampled_from(free))
            del self.versions[version], self.registry.entries[version]

    @precondition(lambda self: self.versions)
    @rule(data=st.data())
    def download(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(self.versions)))
        folder = registry.download("digits", version)
        assert (folder / "model.keras").read_bytes() == f"weights of {version}".encode() * 100
        marks.release(folder)
        self.models[version] = Thing()

    @precondition(lambda self: self.versions)
    @rule(data=st.data(), name=st.sampled_from(["a", "b"]))
    def deploy(self, data: st.DataObject, name: str) -> None:
        version, run = data.draw(st.sampled_from(sorted(self.versions))), self._some_run(data)
        self.world.deploy(name, version, run)
        self.deployments[name] = (version, run)
        self.former.pop(name, None)

    @precondition(lambda self: self.deployments)
    @rule()
    def undeploy(self) -> None:
        name = sorted(self.deployments)[0]
        self.world.undeploy(name)
        del self.deployments[name]
        self.former[name] = Thing(age=0.0)
        for folder in self.world.logs(name):
            os.utime(folder)

    @rule()
    def search(self) -> None:
        name = f"tune-{len(self.trials) + len(self.former_trials):04d}"
        self.world.trial(name)
        self.trials[name] = Thing()

    @precondition(lambda self: self.trials)
    @rule()
    def drop_trial(self) -> None:
        name = sorted(self.trials)[0]
        self.world.drop_trial(name)
        self.former_trials[name] = self.trials.pop(name)

    @rule(days=st.sampled_from([0.5, 3.0, 8.0]))
    def wait(self, days: float) -> None:
        self.world.age(days * DAY)
        for book in (self.runs, self.checkouts, self.models, self.trials, self.former, self.former_trials):
            for thing in book.values():
                thing.age += days * DAY

    @rule(days=st.sampled_from([0.0, 1.0, 7.0]), keep_runs=st.integers(0, 2))
    def collect(self, days: float, keep_runs: int) -> None:
        policy = gc.Policy(older_than=days * DAY, keep_runs=keep_runs)
        before, stored = self.world.state(), self.world.stored()
        dry = gc.collect(policy, dry_run=True)
        assert self.world.state() == before
        done = gc.collect(policy)
        assert [c.to_json() for c in done.freed] == [c.to_json() for c in dry.freed]
        assert self.world.stored() == stored - done.bytes
        expected = self._expected(days * DAY, keep_runs)
        assert {(c.kind, c.name) for c in done.freed} == expected
        self._forget(expected)

    def _expected(self, seconds: float, keep_runs: int) -> set[tuple[str, str]]:
        def old(thing: Thing) -> bool:
            return thing.age >= seconds

        def idle(thing: Thing) -> bool:
            return thing.age >= max(seconds, UNLOCKED)

        gone: set[tuple[str, str]] = set()
        if not self.running:
            named = {self.world.made_by[c] for c in self.world.commits} | set(self.versions.values())
            named |= {run for _, run in self.deployments.values()}
            there = [run for run in self.runs if self.runs[run].extra["record"]]
            safe = named | set(there[len(there) - keep_runs :])
            for run, thing in self.runs.items():
                record_goes = bool(thing.extra["record"]) and old(thing) and run not in safe
                entry_goes = bool(thing.extra["cached"]) and old(thing)
                kept_by_record = thing.extra["record"] and thing.extra["keeps"] and not record_goes
                kept_by_entry = thing.extra["cached"] and not entry_goes
                if record_goes:
                    gone.add(("run", run))
                if entry_goes:
                    gone.add(("cache", f"c0de/train-{run}.json"))
                if thing.extra["outputs"] and old(thing) and not kept_by_record and not kept_by_entry:
                    gone.add(("outputs", self.world.kfp(run).name))
        for commit, thing in self.checkouts.items():
            if old(thing) and commit not in self.open:
                gone.add(("checkout", f"digits@{commit}"))
        served = {version for version, _ in self.deployments.values()}
        for version, thing in self.models.items():
            if old(thing) and version not in served:
                gone.add(("model", f"digits/{version}-{'d' * 16}"))
        for name, thing in self.former.items():
            if idle(thing):
                gone |= {("server logs", f"default/{name}"), ("requests", f"default/{name}")}
        gone |= {("trial", f"default/tune/{n}") for n, thing in self.former_trials.items() if idle(thing)}
        return gone

    def _forget(self, gone: set[tuple[str, str]]) -> None:
        for run in list(self.runs):
            extra = self.runs[run].extra
            extra["record"] = extra["record"] and ("run", run) not in gone
            extra["cached"] = extra["cached"] and ("cache", f"c0de/train-{run}.json") not in gone
            extra["outputs"] = extra["outputs"] and ("outputs", self.world.kfp(run).name) not in gone
        self.checkouts = {c: t for c, t in self.checkouts.items() if ("checkout", f"digits@{c}") not in gone}
        self.models = {
            v: t for v, t in self.models.items() if ("model", f"digits/{v}-{'d' * 16}") not in gone
        }
        self.former = {n: t for n, t in self.former.items() if ("requests", f"default/{n}") not in gone}
        self.former_trials = {
            n: t for n, t in self.former_trials.items() if ("trial", f"default/tune/{n}") not in gone
        }

    @invariant()
    def what_is_needed_is_whole(self) -> None:
        if not hasattr(self, "world"):
            return
        for commit in self.open:
            if commit in self.checkouts:
                files = contents(self.world.checkout_folder(commit))
                assert files == self.checkouts[commit].extra.setdefault("files", files)
        for run, thing in self.runs.items():
            assert (self.world.home / "runs" / run / "run.json").is_file() == thing.extra["record"]
            if thing.extra["outputs"]:
                weights = self.world.kfp(run) / "train-model" / "model" / "weights"
                assert weights.read_bytes() == run.encode() * 300
        for name in self.deployments:
            assert all(folder.is_dir() for folder in self.world.logs(name))

    @invariant()
    def every_commit_reads_back(self) -> None:
        if not hasattr(self, "world") or not self.world.commits:
            return
        from pachyderm_sdk.api import pfs

        from chandlery.data.client import connect
        from chandlery.data.references import repo_message

        commit = sorted(self.world.commits)[self.seed % len(self.world.commits)]
        message = pfs.Commit(repo=repo_message("digits"), id=commit)
        with connect() as client:
            for name, content in self.world.commits[commit].items():
                found = client.pfs.get_file(file=pfs.File(commit=message, path=f"/{name}"))
                assert b"".join(piece.value for piece in found) == content


@pytest.mark.slow
def test_any_life(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHANDLERY_DATA", "CHANDLERY_ARTIFACTS", "CHANDLERY_RESOURCES", "CHANDLERY_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("CHANDLERY_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # restored afterwards
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
