"""The engine runs compiled pipelines as KFP does: every construct, failures, ends, kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from chandlery import processes
from chandlery.embedded.pipelines.once import Ran, run_once
from chandlery.runs import tasks
from tests.local.pipelines import flows

pytestmark = pytest.mark.slow


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'marks of a run\'s "steps" & $x'


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_every_construct_at_once(tmp_path: Path, path: Path) -> None:
    ran = run_once(flows.constructs, tmp_path / "it's a $folder", {"path": str(path)}).check()
    outputs = {
        place.removeprefix("root/exit-handler-1/"): task.outputs
        for place, task in ran.tasks.items()
        if task.outputs
    }
    assert outputs["total"] == {"Output": 7.5}
    assert outputs["read-all"] == {"Output": 6}
    assert outputs["inner/number"] == {"Output": 10.5}
    assert outputs["optional"] == {"Output": "none"}
    loops = {
        place: task for place, task in ran.tasks.items() if "for-loop" in place and place.endswith("number-2")
    }
    assert sorted(task.outputs["Output"] for task in loops.values()) == [12, 13]
    assert sum(task.state == "SKIPPED" for task in ran.tasks.values()) == 3  # one turn's gate, tails, edge
    assert any(task.outputs == {"Output": "second is 8"} for task in ran.tasks.values())
    assert sorted(lines(path)) == ["COMPLETE exit-handler-1 None None", "h"]


@pytest.mark.parametrize(("coin", "said"), [("tails", "t"), ("other", "e")])
def test_the_branch_that_was_taken_gives_the_value(tmp_path: Path, path: Path, coin: str, said: str) -> None:
    run_once(flows.constructs, tmp_path, {"path": str(path), "coin": coin, "note": "n"}).check()
    assert {said, "COMPLETE exit-handler-1 None n"} <= set(lines(path))


def test_a_loop_in_a_loop_is_collected_into_one_list(tmp_path: Path) -> None:
    assert run_once(flows.nested_loops, tmp_path).check().outputs == {"Output": [10.5, 20.5, 10.5, 20.5]}


def test_results_are_found_again(tmp_path: Path, path: Path) -> None:
    def states(ran: Ran) -> set[str]:
        return {task.state for task in ran.tasks.values() if "executorLabel" in task.component}

    first = run_once(flows.nested_loops, tmp_path, caching=True, parallel=1).check()
    assert states(first) == {"SUCCEEDED", "CACHED"}  # equal turns find the first one's result
    second = run_once(flows.nested_loops, tmp_path, caching=True).check()
    assert states(second) == {"CACHED"}
    assert second.outputs == first.outputs
    assert states(run_once(flows.nested_loops, tmp_path, caching=False).check()) == {"SUCCEEDED"}


def test_a_failure_lets_what_runs_end_starts_nothing_and_is_told_to_the_exit_task(
    tmp_path: Path, path: Path
) -> None:
    ran = run_once(flows.broken, tmp_path, {"path": str(path)})
    assert ran.state == "FAILED"
    assert ran.error == "step fail ended with code 1"
    assert "fail | ValueError: no column 'price'" in ran.log
    assert "worker.py" not in ran.log
    assert lines(path) == ["slow ended", "FAILED exit-handler-1 None None"]
    assert ran.tasks["root/exit-handler-1/mark-2"].state == "SKIPPED"


@pytest.mark.parametrize(("retries", "state"), [(2, "SUCCEEDED"), (1, "FAILED")])
def test_retries(tmp_path: Path, path: Path, retries: int, state: str) -> None:
    from kfp import dsl

    @dsl.pipeline(name="retried")
    def retried():  # type: ignore[no-untyped-def]
        flows.flaky(path=str(path), times=2).set_retry(retries, backoff_duration="0s")

    ran = run_once(retried, tmp_path)
    assert ran.state == state
    assert ran.task("flaky").attempts == retries + 1


def test_a_deadline_ends_a_step(tmp_path: Path) -> None:
    from kfp import dsl, kubernetes

    @dsl.pipeline(name="late")
    def late():  # type: ignore[no-untyped-def]
        kubernetes.set_timeout(flows.sleep(seconds=60.0), seconds=1)

    began = time.monotonic()
    ran = run_once(late, tmp_path)
    assert time.monotonic() - began < 20
    assert ran.error == "step sleep took longer than its deadline of 1 s"


def test_independent_steps_share_the_machine(tmp_path: Path) -> None:
    """Ten steps that wait 0.4 s take the time of five on two cores; no more run than there are cores, or than asked."""
    cores = len(os.sched_getaffinity(0))
    for parallel in (0, 1):
        began = time.monotonic()
        ran = run_once(flows.wide, tmp_path, {"seconds": 0.4}, parallel=parallel).check()
        seconds = time.monotonic() - began
        at_once = parallel or cores
        spans = [(task.started, task.ended) for task in ran.tasks.values() if task.name == "sleep"]
        most = max(sum(begin <= start < end for begin, end in spans) for start, _ in spans)
        assert most <= at_once
        turns = -(-10 // at_once)
        assert 0.4 * turns <= seconds < 0.4 * turns + 4


def test_a_large_output_is_cut_and_the_memory_stays_small(tmp_path: Path) -> None:
    before = psutil.Process().memory_info().rss
    ran = run_once(flows.chatty, tmp_path, {"megabytes": 200}).check()
    log = tasks.log_file(next((tmp_path / "runs").iterdir()), "root/chatty")
    assert 60 * 2**20 < log.stat().st_size < 70 * 2**20
    assert log.read_bytes().endswith(b"the rest is not kept)\n")
    assert ran.outputs == {"Output": 200}
    assert psutil.Process().memory_info().rss - before < 400 * 2**20


def test_a_process_that_a_step_left_behind_holds_nothing_up(tmp_path: Path) -> None:
    began = time.monotonic()
    run_once(flows.leaves_a_child, tmp_path, {"seconds": 30.0}).check()
    assert time.monotonic() - began < 15


def test_a_step_that_was_killed_is_told_so(tmp_path: Path) -> None:
    ran = run_once(flows.dies, tmp_path)
    assert ran.error == "step dies was ended by SIGKILL (out of memory?)"


def test_thousands_of_turns(tmp_path: Path) -> None:
    """10,000 items that the cache answers but for one: the engine itself is what takes time."""
    began = time.monotonic()
    ran = run_once(flows.many, tmp_path, {"items": [7] * 10_000}, caching=True, parallel=1).check()
    assert sum(task.state == "CACHED" for task in ran.tasks.values()) == 9_999
    assert time.monotonic() - began < 90


def test_a_wrong_argument_runs_nothing(tmp_path: Path) -> None:
    from chandlery.errors import UserError

    for arguments in ({}, {"seconds": "x"}, {"seconds": 1.0, "other": 2}, {"seconds": 1.0, "count": 3}):
        with pytest.raises(UserError):
            run_once(flows.wide, tmp_path, arguments)


def test_a_container_component_needs_docker_or_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = flows.count
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("chandlery.embedded.pipelines.docker.Docker.answers", lambda self: False)
    ran = run_once(count, tmp_path, {"text": "a b'c"})
    assert "no Docker engine answers" in ran.error
    assert run_once(count, tmp_path, {"text": "a b'c"}, runner="process").check().task("count").outputs == {
        "size": 5
    }


def test_packages_of_a_component_get_an_environment_that_is_kept(tmp_path: Path) -> None:
    uses = flows.using(_wheel(tmp_path))
    first = run_once(uses, tmp_path)
    if first.state != "SUCCEEDED" and "cannot be made" in first.error:
        pytest.skip(f"no package index can be reached: {first.log[-300:]}")
    assert first.check().outputs == {"Output": "tiny"}
    assert "making an environment" in first.log
    assert "making an environment" not in run_once(uses, tmp_path).check().log


def _wheel(folder: Path) -> Path:
    import zipfile

    path = folder / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "WORD = 'tiny'\n")
        archive.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
        archive.writestr(
            "tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny-1.dist-info/RECORD", "")
    return path


class Process:
    """An engine of its own, as `chandlery run` starts it."""

    def __init__(self, pipeline: Any, base: Path, **arguments: Any) -> None:
        from kfp import compiler

        self.folder = base / "run"
        self.folder.mkdir()
        compiler.Compiler().compile(pipeline, str(base / "p.yaml"))
        self._request = {
            "run_id": "run",
            "package": str(base / "p.yaml"),
            "arguments": arguments,
            "home": str(base),
            "pipeline_root": str(base / "outputs"),
            "cache_root": str(base / "cache"),
            "environments": str(base / "environments"),
        }
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        (self.folder / "request.json").write_text(json.dumps(self._request))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "chandlery.embedded.pipelines", str(self.folder), str(os.getpid())],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self.process

    def states(self) -> dict[str, str]:
        return {path: entry["state"] for path, entry in tasks.read(self.folder).items()}


def wait_for(what: Any, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_request_to_end_ends_what_runs_and_exit_tasks_still_run(tmp_path: Path, path: Path) -> None:
    from kfp import dsl

    @dsl.pipeline(name="ended")
    def ended():  # type: ignore[no-untyped-def]
        with dsl.ExitHandler(flows.final(path=str(path))):
            flows.mark(path=str(path), text="never").after(flows.sleep(seconds=600.0))

    run = Process(ended, tmp_path)
    wait_for(lambda: run.states().get("root/exit-handler-1/sleep") == "RUNNING")
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(30) == 1
    assert lines(path) == ["CANCELED exit-handler-1 None None"]
    assert run.states()["root"] == "CANCELED"


def test_a_step_that_ignores_the_request_is_killed(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Process(flows.stubborn, tmp_path, path=str(path))
    wait_for(lambda: lines(path) == ["began"] and tasks.processes_of(run.folder))
    (step,) = tasks.processes_of(run.folder)
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(40) == 1
    wait_for(lambda: not processes.is_running(step), 10)


@pytest.mark.parametrize("seed", range(4))
def test_kill_9_at_any_moment_repeats_no_finished_step(tmp_path: Path, path: Path, seed: int) -> None:
    chance = random.Random(seed)
    run = Process(flows.chain, tmp_path, path=str(path))
    for _ in range(4):
        time.sleep(chance.uniform(0.1, 0.9))
        if run.process.poll() is not None:
            break
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()
        done = [place for place, state in run.states().items() if state == "SUCCEEDED" and place != "root"]
        for left in tasks.processes_of(run.folder):
            wait_for(lambda left=left: not psutil.pid_exists(left.pid), 10)  # type: ignore[misc]
        before = lines(path)
        run.start()
        count = len(before)
        wait_for(lambda count=count: run.process.poll() is not None or len(lines(path)) > count, 30)  # type: ignore[misc]
        assert all(run.states()[place] == "SUCCEEDED" for place in done)
    assert run.process.wait(60) == 0
    # A step that was killed between its mark and its end runs again; one that ended does not.
    found = lines(path)
    assert list(dict.fromkeys(found)) == [f"step {index}" for index in range(6)]
    assert len(found) <= 6 + 4


def test_the_interpreter_that_forks_is_killed(tmp_path: Path, path: Path) -> None:
    run = Process(flows.chain, tmp_path, path=str(path))
    wait_for(lambda: lines(path))
    (worker,) = psutil.Process(run.process.pid).children()
    worker.kill()
    assert run.process.wait(30) == 1
    tasks.forget(run.folder, keep=("SUCCEEDED",))
    assert run.start().wait(60) == 0
    assert list(dict.fromkeys(lines(path))) == [f"step {index}" for index in range(6)]
