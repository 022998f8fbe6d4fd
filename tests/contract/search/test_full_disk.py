"""A full disk costs a search time, and no trial."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chandlery.resources import TRIAL
from tests.chaos.faults import full_disk, small_disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small tmpfs")


@pytest.fixture
def small_home(home: Path) -> Iterator[Path]:
    with small_disk(home, 8) as problem:
        if problem:
            pytest.skip(f"no small disk can be mounted here: {problem}")
        yield home


def wait_for_line(home: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while not any(text in log.read_text() for log in (home / "experiments").glob("*/*/*/trial.log")):
        assert time.monotonic() < deadline, f"no trial wrote {text!r}"
        time.sleep(0.02)


def test_a_trial_that_fails_because_it_cannot_write_runs_again_when_there_is_room(
    small_home, store, controller, make_experiment, wait_for, tmp_path
):
    starts = tmp_path / "starts"
    code = f"""
    print("begun", flush=True)
    os.write(os.open({str(starts)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT), b".")
    for step in range(20):
        time.sleep(0.1)
        print(f"accuracy={{step}}" + " " * 4096, flush=True)
    """
    store.apply(make_experiment(code, maxTrialCount=1, parallelTrialCount=1, maxFailedTrialCount=1))
    wait_for_line(small_home, "begun")
    with full_disk(small_home, 0):
        time.sleep(3)
    assert wait_for()["status"]["trialsSucceeded"] == 1
    (trial,) = store.list(TRIAL, "default")
    assert trial["status"]["observation"]["metrics"][0]["latest"] == "19"
    assert len(starts.read_text()) == 2


def test_a_trial_that_ends_on_a_full_disk_has_ended(
    small_home, store, controller, make_experiment, wait_for, tmp_path
):
    over, starts = tmp_path / "over", tmp_path / "starts"
    code = f"""
    write("accuracy", 3)
    os.write(os.open({str(starts)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT), b".")
    while not os.path.exists({str(over)!r}):
        time.sleep(0.02)
    """
    store.apply(make_experiment(code, maxTrialCount=1, parallelTrialCount=1, maxFailedTrialCount=1))
    wait_for_line(small_home, "accuracy=3")
    with full_disk(small_home, 0):
        over.touch()
        time.sleep(2)
    assert wait_for()["status"]["trialsSucceeded"] == 1
    assert len(starts.read_text()) == 1
