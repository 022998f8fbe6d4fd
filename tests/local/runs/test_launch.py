"""The laptop runner: what runs, what is reused, what a kill leaves behind, what an error says."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from chandlery import catalog, processes
from chandlery.errors import ConflictError
from chandlery.runs.launch import Launched, launch
from chandlery.runs.record import all_runs

pytestmark = pytest.mark.slow
NAME = "small_pipeline"


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from kfp import compiler

    source = Path(__file__).with_name("small_pipeline.py")
    spec = importlib.util.spec_from_file_location("small_pipeline", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["small_pipeline"] = module
    spec.loader.exec_module(module)
    path = tmp_path_factory.mktemp("package") / "small.yaml"
    compiler.Compiler().compile(module.small_pipeline, str(path))
    return path


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    return tmp_path / "marks"


def go(package: Path, marks: Path, **arguments: Any) -> Launched:
    return launch(NAME, package, {"marks": str(marks), **arguments})


def acted_in(marks: Path) -> list[str]:
    """Run ids in which the acting step ran."""
    return [line.split()[0] for line in marks.read_text().splitlines()]


def test_a_second_run_reuses_pure_steps_and_acts_again(package: Path, marks: Path) -> None:
    first, second = go(package, marks), go(package, marks)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.record.tasks["double_number"]["state"] == "succeeded"
    assert second.record.tasks["double_number"]["state"] == "cached"
    assert second.record.tasks["touch_world"]["state"] == "succeeded"
    assert acted_in(marks) == [first.record.run_id, second.record.run_id]
    assert marks.with_name("marks.cheer").read_text() == "hurrah\n" * 2


def test_a_closed_gate_is_a_skipped_step(package: Path, marks: Path) -> None:
    outcome = go(package, marks, number=1)
    assert outcome.exit_code == 0
    assert not marks.with_name("marks.cheer").exists()
    assert "skipped" in {task["state"] for task in outcome.record.tasks.values()}


def test_a_users_mistake_ends_with_two_lines_and_code_2_and_the_exit_handler_runs(
    package: Path, marks: Path
) -> None:
    outcome = go(package, marks, mood="angry")
    assert outcome.exit_code == 2
    assert outcome.record.error == ["the number is wrong", "give another number"]
    assert marks.with_name("marks.end").read_text() == "FAILED\n"
    log = (Path(os.environ["CHANDLERY_HOME"]) / "runs" / outcome.record.run_id / "log.txt").read_text()
    assert "Traceback" not in log


def test_a_component_by_itself_ends_with_the_same_two_lines(marks: Path) -> None:
    component = catalog.find("commit_dataset")
    outcome = launch(component.name, component.package, {"source": f"{marks}-none", "repo": "mine"})
    assert outcome.exit_code == 2
    assert outcome.record.error == [f"source {marks}-none: no such file or folder", "check the path"]
    log = (Path(os.environ["CHANDLERY_HOME"]) / "runs" / outcome.record.run_id / "log.txt").read_text()
    assert "Traceback" not in log


def test_the_same_command_carries_on_a_failed_run(package: Path, marks: Path) -> None:
    failed = go(package, marks, mood="angry")
    marks.with_name("marks.calm").touch()
    again = go(package, marks, mood="angry")
    assert again.exit_code == 0
    assert again.record.run_id == failed.record.run_id
    assert again.record.attempts == 2
    assert again.record.tasks["double_number"]["state"] == "cached"
    assert go(package, marks, mood="angry").record.run_id != failed.record.run_id


def test_two_runs_at_once_in_one_home_are_refused(package: Path, marks: Path) -> None:
    process = start(package, marks)
    try:
        wait_for(marks)
        with pytest.raises(ConflictError, match="another run is in progress"):
            go(package, marks)
    finally:
        process.kill()
        process.wait()
    assert len(acted_in(marks)) == 1


@pytest.mark.parametrize("victim", ["command", "executor", "step", "all"])
def test_kill_9_leaves_no_process_and_the_same_command_completes(
    package: Path, marks: Path, victim: str
) -> None:
    process = start(package, marks)
    wait_for(marks)
    pid = int(marks.read_text().split()[1])
    step = processes.identify(pid)
    record = all_runs(Path(os.environ["CHANDLERY_HOME"]))[0]
    assert record.process is not None
    victims = {"command": [process.pid], "executor": [record.process.pid], "step": [pid]}
    for killed in victims.get(victim, [process.pid, record.process.pid, pid]):
        os.kill(killed, signal.SIGKILL)
    process.wait(timeout=120)
    if victim != "all":
        limit = time.monotonic() + 60
        while processes.is_running(step) and time.monotonic() < limit:
            time.sleep(0.05)
        assert not processes.is_running(step)
    marks.with_name("marks.calm").touch()
    outcome = go(package, marks, mood="slow")
    assert outcome.exit_code == 0
    assert outcome.record.run_id == record.run_id
    assert set(acted_in(marks)) == {record.run_id}
    assert not processes.is_running(step)


def start(package: Path, marks: Path) -> subprocess.Popen[bytes]:
    """Start a run with a slow step in a process of its own."""
    code = (
        "import sys; from pathlib import Path; from chandlery.runs.launch import launch;"
        f"launch({NAME!r}, Path(sys.argv[1]), {{'marks': sys.argv[2], 'mood': 'slow'}})"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(package), str(marks)])


def wait_for(path: Path, seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < limit, f"{path} did not appear"
        time.sleep(0.05)


def test_a_run_whose_command_was_killed_at_once_runs_nothing(tmp_path: Path) -> None:
    # By the time the executor looks, its parent is already another one: whoever adopts orphans.
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(60)
    executor = subprocess.Popen(
        [sys.executable, "-m", "chandlery.embedded.pipelines", str(tmp_path), str(gone.pid)],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(_slow_request(tmp_path))},
    )
    assert executor.wait(60) == -signal.SIGKILL


def _slow_request(folder: Path) -> Path:
    """Make reading the request take as long as a test may: only the watch can end the executor."""
    (folder / "sitecustomize.py").write_text("import json, time\njson.loads = lambda text: time.sleep(50)\n")
    (folder / "request.json").write_text("{}")
    return folder
