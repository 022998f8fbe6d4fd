"""A trial's process: who waits for its end does not sleep through it."""

import time

from chandlery.embedded.experiments.process import Ended, TrialProcess, wait_for_any
from chandlery.embedded.experiments.template import Command


def started(folder, *words):
    trial = TrialProcess(folder / "trial", "uid")
    trial.start(Command([*words], folder=str(folder)))
    return trial


def test_an_end_between_a_look_and_the_wait_wakes(tmp_path):
    trial = started(tmp_path, "sleep", "0.2")
    assert trial.is_running()
    deadline = time.monotonic() + 30
    while not trial.ended() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)  # for the process itself to be gone, not only to have written how it ended
    began = time.monotonic()
    wait_for_any([trial], 20)
    assert time.monotonic() - began < 10
    assert not trial.is_running()
    assert trial.ended() == Ended(0)


def test_an_end_that_was_seen_wakes_nobody(tmp_path):
    trial = started(tmp_path, "true")
    while trial.is_running():
        wait_for_any([trial], 1)
    began = time.monotonic()
    wait_for_any([trial], 0.3)
    assert time.monotonic() - began >= 0.3
