"""A signal's handler that sets an Event cannot wait for a lock that the interrupted code holds."""

from __future__ import annotations

import signal
import subprocess
import sys

PROGRAM = """
import os, signal, sys, threading
from chandlery.processes.flag import setting
event = threading.Event()
signal.signal(signal.SIGTERM, setting(event) if sys.argv[1] == "setting" else lambda *_: event.set())
with event._cond:  # what set() and wait() hold for a moment
    os.kill(os.getpid(), signal.SIGTERM)
assert event.wait(10)
"""


def run(how: str) -> int:
    try:
        return subprocess.run([sys.executable, "-c", PROGRAM, how], timeout=5, check=False).returncode
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL


def test_a_handler_that_sets_an_event_by_way_of_a_thread_ends() -> None:
    assert run("setting") == 0


def test_one_that_sets_it_itself_waits_for_ever() -> None:
    """What the other test would show without the thread."""
    assert run("plain") == -signal.SIGKILL
