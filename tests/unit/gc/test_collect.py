"""What may go goes, what is needed stays: one thing at a time."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chandlery import addresses, gc, registry
from chandlery.cli.main import app
from chandlery.data import remembered
from chandlery.embedded.pipelines.cache import Cache
from chandlery.errors import ConflictError, UserError
from chandlery.gc.trash import Trash
from chandlery.processes import marks
from chandlery.runs.launch import only_run

from .world import DAY, World, contents


def freed(**policy: float) -> set[tuple[str, str]]:
    outcome = gc.collect(gc.Policy(**{"keep_runs": 0, **policy}))  # type: ignore[arg-type]
    return {(candidate.kind, candidate.name) for candidate in outcome.freed}


def test_a_home_that_was_never_used_is_not_made(world: World) -> None:
    world.home.rmdir()
    assert gc.collect(gc.Policy()).freed == ()
    assert not world.home.exists()


def test_old_runs_go_and_take_their_outputs_along(world: World) -> None:
    old = world.run()
    world.age(8 * DAY)
    new = world.run()
    assert freed() == {("run", old), ("cache", f"c0de/train-{old}.json"), ("outputs", world.kfp(old).name)}
    assert world.kfp(new).is_dir()
    assert not (world.home / "artifacts" / "runs" / old).exists()


def test_what_was_read_of_a_source_goes_when_it_is_old(world: World, tmp_path: Path) -> None:
    remembered.remember(str(tmp_path / "old"), {})
    world.age(8 * DAY)
    remembered.remember(str(tmp_path / "new"), {})
    old, new = sorted(remembered.folder().iterdir(), key=lambda path: path.stat().st_mtime)
    assert freed() == {("source", old.name)}
    assert list(remembered.folder().iterdir()) == [new]


def test_the_newest_runs_stay_however_old(world: World) -> None:
    runs = [world.run(cached=False, outputs=False) for _ in range(4)]
    world.age(30 * DAY)
    assert freed(keep_runs=3) == {("run", runs[0])}


def test_a_run_that_something_names_stays(world: World) -> None:
    of_commit, of_version, of_deployment, of_nothing = (
        world.run(cached=False, outputs=False) for _ in range(4)
    )
    world.commit(1, of_commit)
    version = world.registry.add(of_version)
    world.deploy("digits", version, of_deployment)
    world.age(30 * DAY)
    assert freed() == {("run", of_nothing)}


def test_outputs_that_something_names_stay(world: World) -> None:
    by_entry = world.run()
    by_search = world.run(cached=False)
    by_record = world.run(cached=False, keeps=True)
    by_nothing = world.run(cached=False)
    world.commit(1, by_record)
    world.experiment("tune", f"--data={world.kfp(by_search)}/train-model/model")
    world.age(30 * DAY)
    os.utime(world.entry(by_entry))  # a run found it in the cache
    assert {name for kind, name in freed() if kind == "outputs"} == {world.kfp(by_nothing).name}


def test_an_entry_whose_outputs_are_gone_goes(world: World) -> None:
    run = world.run(outputs=False)
    assert ("cache", f"c0de/train-{run}.json") in freed()


def test_an_entry_is_whole_while_its_files_are_there(world: World, tmp_path: Path) -> None:
    folder = world.home / "artifacts" / "kfp" / "train-1" / "task" / "model"
    folder.mkdir(parents=True)
    (tmp_path / "gone").touch()
    cache = Cache(world.home / "cache" / "c0de", "train")
    cache.keep("here", {"score": 1.0}, {"model": [{"uri": str(folder)}]})
    cache.keep("gone", {}, {"models": [{"uri": str(tmp_path / "gone")}]})
    cache.keep("none", {}, {"model": [{"uri": str(tmp_path / "never-written")}]})
    cache.keep("far", {}, {"model": [{"uri": "gs://bucket/model"}]})
    (tmp_path / "gone").unlink()
    assert freed() == {("cache", "c0de/train-gone.json")}


def test_nothing_of_a_run_in_progress_goes(world: World) -> None:
    world.run()
    world.age(30 * DAY)
    with only_run(world.home):
        outcome = gc.collect(gc.Policy(keep_runs=0))
    assert outcome.freed == ()
    assert "a run is in progress" in outcome.left[0]
    assert freed()


def test_a_silent_registry_keeps_every_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.run(keeps=True)
    world.age(30 * DAY)
    monkeypatch.setattr("chandlery.registry.client.DEADLINE_SECONDS", 0.1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    outcome = gc.collect(gc.Policy(keep_runs=0))
    assert {c.kind for c in outcome.freed} == {"cache"}
    assert any("MLflow did not report" in line for line in outcome.left)
    assert world.kfp(run).is_dir()


def test_a_checkout_goes_and_comes_again(world: World) -> None:
    commit = world.commit(1)
    folder = world.checkout(commit)
    marks.release(folder)
    world.age(8 * DAY)
    assert freed() == {("checkout", f"digits@{commit}")}
    assert contents(world.checkout(commit)) == world.commits[commit]
    marks.release(folder)
    assert freed() == set()


def test_a_checkout_that_a_process_uses_stays_until_that_process_is_killed(world: World) -> None:
    commit = world.commit(1)
    code = f"from chandlery import data; data.checkout('digits', {commit!r}); print('there', flush=True); input()"
    user = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert user.stdout is not None
    assert b"there\n" in iter(user.stdout.readline, b"")
    world.age(8 * DAY)
    outcome = gc.collect(gc.Policy())
    assert outcome.freed == ()
    assert outcome.left == (f"checkout digits@{commit}: a process uses it",)
    user.kill()
    user.communicate()
    assert freed() == {("checkout", f"digits@{commit}")}


def test_a_model_goes_unless_it_is_served_and_can_be_fetched_for_a_rollback(world: World) -> None:
    served, previous = world.registry.add(""), world.registry.add("")
    folders = [registry.download("digits", version) for version in (served, previous)]
    expected = contents(folders[1])
    for folder in folders:
        marks.release(folder)
    world.deploy("digits", served, "")
    world.age(8 * DAY)
    assert freed() == {("model", f"digits/{folders[1].name}")}
    assert folders[0].is_dir()
    assert contents(registry.download("digits", previous)) == expected
    marks.release(folders[1])


def test_files_of_deleted_trials_and_deployments_go(world: World) -> None:
    kept, _, running = (world.trial(f"tune-{index:04d}") for index in range(3))
    for name in ("stays", "goes"):
        world.deploy(name, "1", "")
    world.age(8 * DAY)
    world.undeploy("goes")
    world.drop_trial("tune-0001")
    world.drop_trial("tune-0002")
    with open(running / "lock", "w") as lock:
        os.utime(running / "lock", (1, 1))
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.utime(running, (1, 1))
        assert freed() == {
            ("trial", "default/tune/tune-0001"),
            ("server logs", "default/goes"),
            ("requests", "default/goes"),
        }
    assert kept.is_dir()
    assert freed() == {("trial", "default/tune/tune-0002")}


def test_unwanted_chunks_go(world: World) -> None:
    world.commit(1)
    lost = world.home / "pachd" / "chunks" / "ff" / ("ff" * 32)
    lost.parent.mkdir(exist_ok=True)
    lost.write_bytes(b"x" * 70_000)
    outcome = gc.collect(gc.Policy())
    assert [(c.kind, c.bytes) for c in outcome.freed] == [("chunks", 70_000)]
    assert not lost.exists()


def test_a_kill_at_any_moment_loses_nothing_and_the_next_one_finishes(world: World) -> None:
    commit = world.commit(1)
    needed = world.run()
    world.commit(2, needed)
    for _ in range(2):
        world.run()
    marks.release(world.checkout(commit))
    world.age(8 * DAY)
    expected = len(gc.collect(gc.Policy(keep_runs=0), dry_run=True).freed)
    assert expected >= 8
    thrown, at = Trash.throw, 0
    while True:
        pid = os.fork()
        if not pid:
            count = 0

            def throw(self: Trash, path: Path, at: int = at) -> None:
                nonlocal count
                count += 1
                thrown(self, path)
                if count > at:
                    os.kill(os.getpid(), signal.SIGKILL)

            Trash.throw = throw  # type: ignore[method-assign]
            gc.collect(gc.Policy(keep_runs=0))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            break
        at = (at + 1) % 3
        assert any(c.kind == "trash" for c in gc.collect(gc.Policy(keep_runs=0), dry_run=True).freed)
    assert gc.collect(gc.Policy(keep_runs=0)).freed == ()
    assert not (world.home / "artifacts" / ".trash").exists()
    assert {path.name for path in (world.home / "runs").iterdir()} == {needed, "lock"}
    assert contents(world.checkout(commit)) == world.commits[commit]


def test_two_collections_do_not_meet(world: World) -> None:
    with open(world.home / "gc.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConflictError, match="another collection"):
            gc.collect(gc.Policy())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7d", 7 * DAY), ("12h", 43200), ("30m", 1800), ("0", 0), ("2w", 14 * DAY), ("45s", 45)],
)
def test_ages(text: str, seconds: float) -> None:
    assert gc.parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "x", "-1d", "1.5d", "7", "d", "7 days", "9" * 40 + "d", "٣d", "nan"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="not an age"):
        gc.parse_age(text)


def test_the_command_line(world: World) -> None:
    run = world.run(cached=False, outputs=False)
    world.age(30 * DAY)
    shown = CliRunner().invoke(app, ["gc", "--keep-runs", "0", "--dry-run", "--json"])
    document = json.loads(shown.stdout)
    assert document["dry_run"]
    assert [(c["kind"], c["name"]) for c in document["freed"]] == [("run", run)]
    assert (world.home / "runs" / run).is_dir()
    done = CliRunner().invoke(app, ["gc", "--keep-runs", "0"])
    assert done.exit_code == 0
    assert f"in {len(document['freed'])} things" in done.stdout
    assert not (world.home / "runs" / run).exists()


def test_a_mark_that_was_removed_while_somebody_waited_is_made_anew(tmp_path: Path) -> None:
    thing = tmp_path / "thing"
    marks.use(thing)
    assert marks.is_used(thing)
    assert time.time() - marks.last_used(thing) < 60
    marks.mark_of(thing).unlink()
    marks.use(thing)
    assert marks.is_used(thing)
    marks.release(thing)
    assert not marks.is_used(thing)
    with marks.only_user(tmp_path / "other") as free:
        assert free
    assert not marks.mark_of(tmp_path / "other").exists()
    assert addresses.home()
