"""Kill -9 at any moment, a full disk, more data than memory: the branch and the cache stay whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pachyderm_sdk.api import pfs

from chandlery import data
from chandlery.errors import DataError
from tests.chaos.faults import full_disk

pytestmark = pytest.mark.slow

COMMIT = "import sys; from chandlery import data; print(data.commit(sys.argv[1], 'digits').commit)"
CHECKOUT = "from chandlery import data; data.checkout('digits', 'master')"
TOLD = """
import sys
from chandlery import data
from chandlery.errors import ChandleryError
try:
    data.commit(sys.argv[1], "digits")
except ChandleryError as error:
    print(error.hint)
"""
MIB = 1 << 20

# Commit, check out, print the peak of the resident memory in bytes. On Linux `ru_maxrss` would begin with the peak of
# the process that started this one.
PEAK = """
import resource, sys
from pathlib import Path
from chandlery import data
data.commit(sys.argv[1], "big")
data.checkout("big", "master")
status = Path("/proc/self/status")
if status.exists():
    print(next(int(line.split()[1]) << 10 for line in status.read_text().splitlines() if "VmHWM" in line))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_files(folder: Path, count: int, size: int, seed: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    chance = random.Random(seed)
    for number in range(count):
        (folder / f"{number}.bin").write_bytes(chance.randbytes(size))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill_after(code: str, *arguments: str, seconds: float) -> int:
    """Run Python code; kill it without warning after some time; return its exit code."""
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        return process.wait(10)


def duration(code: str, *arguments: str) -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def test_a_writer_killed_at_random_moments(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_files(first, 200, 1000, seed=1)
    write_files(second, 200, 1000, seed=2)
    whole = duration(COMMIT, str(first))
    chance = random.Random(3)
    versions = {1: contents(first), 2: contents(second)}
    killed = 0
    for _ in range(8):
        # The import takes most of the time: aim at the part after it.
        killed += kill_after(COMMIT, str(second), seconds=chance.uniform(0.6, 1.0) * whole) == -signal.SIGKILL
        seen = contents(data.checkout("digits", "master"))
        assert seen in versions.values()
    assert killed
    data.commit(str(second), "digits")
    assert contents(data.checkout("digits", "master")) == versions[2]
    with data.connect() as client:
        commits = list(client.pfs.list_commit(repo=pfs.Repo(name="digits")))
    assert all(info.finished.timestamp() > 0 and not info.error for info in commits)
    assert len(commits) == 2  # no commit doubled, none left open


def test_a_writer_killed_in_the_middle_of_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    source = tmp_path / "source"
    write_files(source, 3, 1000)
    first = data.commit(str(source), "digits")
    with stalling() as address:
        writer = subprocess.Popen([sys.executable, "-c", COMMIT, f"{address}/endless.bin"])
        with data.connect() as client:
            branch = pfs.Branch.from_uri("digits@master")
            deadline = time.monotonic() + 30
            while client.pfs.inspect_branch(branch=branch).head.id == first.commit:
                assert time.monotonic() < deadline
                assert writer.poll() is None
                time.sleep(0.02)
            left = client.pfs.inspect_branch(branch=branch).head.id
            writer.kill()
            writer.wait(10)
            # A reader takes the last good commit at once; the next writer clears away what was left.
            assert contents(data.checkout("digits", "master")) == contents(source)
            (source / "more").write_bytes(b"x")
            second = data.commit(str(source), "digits", timeout=20)
            commits = [info.commit.id for info in client.pfs.list_commit(repo=pfs.Repo(name="digits"))]
    assert commits == [second.commit, first.commit]
    assert left not in commits


@contextmanager
def stalling() -> Iterator[str]:
    """Serve a file that begins and never ends."""

    class Stalling(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(100 * MIB))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(b"beginning" * MIB)
            self.wfile.flush()
            released.wait(60)

        def log_message(self, *_: object) -> None:
            pass

    released = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_checkout_killed_at_random_moments(tmp_path: Path, home: Path) -> None:
    source = tmp_path / "source"
    write_files(source, 300, 20_000)
    data.commit(str(source), "digits")
    whole = duration(CHECKOUT)
    made = data.checkout("digits", "master").name
    root = home / "artifacts" / "checkouts" / "digits"
    chance = random.Random(4)
    for _ in range(5):
        subprocess.run(["rm", "-rf", str(root / made), str(root / f"{made}.json")], check=True)
        kill_after(CHECKOUT, seconds=chance.uniform(0.7, 1.0) * whole)
        if (root / made).exists():
            assert contents(root / made) == contents(source)
    assert contents(data.checkout("digits", "master")) == contents(source)
    assert not list(root.glob(".*partial*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("mounting a small tmpfs needs root on Linux")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_below_the_cache(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    write_files(source, 30, MIB)
    data.commit(str(source), "digits")
    monkeypatch.setenv("CHANDLERY_ARTIFACTS", str(small_disk))
    with pytest.raises(DataError, match="No space left") as caught:
        data.checkout("digits", "master")
    assert "CHANDLERY_ARTIFACTS" in caught.value.hint
    assert [path.name for path in (small_disk / "checkouts" / "digits").iterdir() if path.is_dir()] == []


def test_a_full_disk_below_the_server(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANDLERY_DATA", f"embedded://{small_disk}/pachd")
    small, large = tmp_path / "small-source", tmp_path / "large-source"
    write_files(small, 1, 1000)
    write_files(large, 30, MIB, seed=1)
    first = data.commit(str(small), "digits")
    with pytest.raises(DataError) as caught:
        data.commit(str(large), "digits")
    assert "free space" in caught.value.hint
    assert contents(data.checkout("digits", "master")) == contents(small)
    with data.connect() as client:
        assert data.resolve(client, "digits", "master", timeout=1).commit == first.commit


def test_memory_is_bounded_whatever_the_size(tmp_path: Path) -> None:
    source = tmp_path / "big"
    source.mkdir()
    with (source / "big.bin").open("wb") as out:
        for number in range(600):
            out.write(random.Random(number).randbytes(MIB))
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(source)], check=True, capture_output=True, text=True
    )
    peak = int(done.stdout.split()[-1])
    assert peak < 256 * MIB, f"{peak / MIB:.0f} MiB"
    assert (data.checkout("big", "master") / "big.bin").stat().st_size == 600 * MIB


def test_a_store_that_a_full_disk_does_not_let_open_is_told(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANDLERY_DATA", f"embedded://{small_disk}/pachd")
    source = tmp_path / "source"
    write_files(source, 1, 1000)
    first = data.commit(str(source), "digits")
    with full_disk(small_disk, 0):
        (source / "more").write_bytes(b"x")
        # In a process of its own: SQLite's shared index is there for as long as somebody has the store open.
        done = subprocess.run(
            [sys.executable, "-c", TOLD, str(source)], capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
    assert "room" in done.stdout or "free space" in done.stdout
    with data.connect() as client:
        assert data.resolve(client, "digits", "master", timeout=1).commit == first.commit
