"""Protects: a signal's handler sets a flag in the middle of anything, and nothing waits for ever."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from chandlery.processes.flag import Flag

# A signal's handler runs between two lines of whatever the main thread is doing; here, between any two of them.
INTERRUPTED = """
import sys
from chandlery.processes.flag import Flag
flag, handled = Flag(), 0
def interrupt(frame, event, argument):
    global handled
    handled += 1
    flag.set()
    return interrupt
sys.settrace(interrupt)
flag.set()
flag.wait(0.001)
flag.clear()
sys.settrace(None)
print(handled > 10, flag.is_set())
"""


def test_a_handler_may_set_it_in_the_middle_of_anything() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True"]), done.stderr[-500:]


def test_it_is_set_cleared_and_waited_for() -> None:
    flag = Flag()
    began = time.monotonic()
    assert not flag.wait(0.05)
    assert time.monotonic() - began >= 0.04
    threading.Timer(0.05, flag.set).start()
    assert flag.wait(10)
    assert flag.is_set()
    assert flag.wait(10), "it stays set"
    flag.clear()
    assert not flag.is_set()
    assert not flag.wait(0.01), "no wake-up of before is left"


def test_more_settings_than_a_pipe_holds() -> None:
    flag = Flag()
    for _ in range(200_000):
        flag.set()
    flag.clear()
    assert not flag.wait(0)
