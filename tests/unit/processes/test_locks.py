"""A lock is held by one process at a time, and goes with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from chandlery.processes.locks import claim, claimed, exclusive, is_locked, shared

HOLDER = """
import sys, time
from pathlib import Path
from chandlery.processes.locks import claim
assert claim(Path(sys.argv[1])) is not None
print("held", flush=True)
time.sleep(60)
"""


def test_a_killed_holder_releases_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert claim(path) is None
    assert is_locked(path)
    with claimed(path) as free:
        assert not free
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with claimed(path) as free:
        assert free
        assert is_locked(path)
    assert not is_locked(path)


def test_readers_share_and_a_writer_is_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with shared(path), shared(path):
        assert claim(path) is None
    with exclusive(path):
        assert claim(path) is None
    descriptor = claim(path)
    assert descriptor is not None
    os.close(descriptor)
