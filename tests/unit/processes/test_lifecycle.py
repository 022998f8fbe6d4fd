"""Processes that are remembered before they run: a kill or a full disk at any moment leaves none that nobody knows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chandlery import processes

# Starts a program that touches a file, and is killed at the moment at which the program's identity is to be written.
KILLED = """
import os, signal, sys
from pathlib import Path
from chandlery import processes
from chandlery.processes import lifecycle
lifecycle.save = lambda identity, path: (print(identity.pid, flush=True), os.kill(os.getpid(), signal.SIGKILL))
folder = Path(sys.argv[1])
processes.start_remembered(["/bin/sh", "-c", f"touch {folder}/ran"], dict(os.environ), folder / "log", folder / "pid")
"""


def test_a_remembered_process_is_the_program_itself(tmp_path: Path) -> None:
    process, identity = processes.start_remembered(
        [sys.executable, "-c", "import sys; print(sys.stdin.read(), 'done')"],
        os.environ,
        tmp_path / "logs" / "log",
        tmp_path / "pid",
    )
    assert processes.load(tmp_path / "pid") == identity
    assert process.pid == identity.pid
    assert process.wait(60) == 0
    assert (tmp_path / "logs" / "log").read_text() == " done\n"


def test_who_is_killed_before_remembering_has_started_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    held = int(done.stdout)
    limit = time.monotonic() + 30
    while processes.runs(held):
        assert time.monotonic() < limit, "it waits for ever"
        time.sleep(0.02)
    assert not (tmp_path / "ran").exists()


def test_what_cannot_be_remembered_is_not_started(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        processes.start_remembered(
            ["/bin/sh", "-c", f"touch {tmp_path}/ran"],
            os.environ,
            tmp_path / "log",
            tmp_path / "file" / "pid",
        )
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("marked", [True, False])
def test_a_group_is_ended_without_its_leader_but_never_a_strangers(tmp_path: Path, marked: bool) -> None:
    # The leader ends, its group stays: that of a service whose leader was killed, or one that has got a number anew.
    environment = {**os.environ, "CHANDLERY_HOME": str(tmp_path if marked else tmp_path / "other")}
    leader = subprocess.Popen(
        ["/bin/sh", "-c", "sleep 60 & echo $!"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert leader.stdout is not None
    member = int(leader.stdout.readline())
    leader.wait(30)
    try:
        processes.end(processes.ProcessId(leader.pid, processes.identify(member).started - 3600), tmp_path)
        limit = time.monotonic() + 30
        while marked and processes.runs(member):
            assert time.monotonic() < limit, "it was left running"
            time.sleep(0.02)
        assert processes.runs(member) != marked
    finally:
        processes.signal_group(leader.pid, signal.SIGKILL)
