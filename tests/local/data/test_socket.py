"""The same stage over a real gRPC connection: streams, errors of the source, a server that dies or hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chandlery import data
from chandlery.data import checkouts, uploads
from chandlery.data import client as clients
from chandlery.data.sources import SourceFile
from chandlery.errors import DataError, DeadlineError, PlatformError

pytestmark = pytest.mark.slow

SERVE = (
    "import sys; from pathlib import Path; from chandlery.embedded.pachd.faces.server import serve;"
    "serve(Path(sys.argv[1]), sys.argv[2])"
)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    socket = tmp_path / "s"
    address = f"unix://{socket}"
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(tmp_path / "store"), address])
    deadline = time.monotonic() + 30
    while not socket.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    monkeypatch.setenv("CHANDLERY_DATA", address)
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait(10)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "large (1).bin").write_bytes(os.urandom(30_000_000))
    for number in range(50):
        (folder / f"{number}.txt").write_text(str(number))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_dataset_comes_back_as_it_was(server: Any, source: Path) -> None:
    made = data.commit(str(source), "digits")
    assert contents(data.checkout("digits", "master")) == contents(source)
    assert data.commit(str(source), "digits").commit == made.commit
    (source / "3.txt").unlink()
    assert data.commit(str(source), "digits").changed
    assert contents(data.checkout("digits", "master")) == contents(source)


def test_an_error_of_the_source_is_told_as_it_is(
    server: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = data.commit(str(source), "digits")

    class Breaking:
        name, cheap_to_read = "breaking", False

        def entries(self) -> Iterator[SourceFile]:
            def read() -> Iterator[bytes]:
                yield b"some"
                raise DataError("the disk of the source fell off")

            yield SourceFile("f", -1, "", read)

    monkeypatch.setattr(uploads, "open_source", lambda _: Breaking())
    with pytest.raises(DataError, match="fell off"):
        data.commit("breaking", "digits")
    with data.connect() as client:
        assert data.resolve(client, "digits", "master", timeout=1).commit == first.commit


def test_a_server_that_died_is_named(server: subprocess.Popen[bytes], source: Path, tmp_path: Path) -> None:
    data.commit(str(source), "digits")
    server.kill()
    server.wait(10)
    with pytest.raises(PlatformError, match="cannot be reached") as caught:
        data.checkout("digits", "master")
    assert "CHANDLERY_DATA" in caught.value.hint


def test_a_server_that_hangs_is_not_waited_for_without_end(
    server: subprocess.Popen[bytes], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.commit(str(source), "digits")
    monkeypatch.setattr(clients, "CALL_DEADLINE", 0.5)
    server.send_signal(signal.SIGSTOP)
    with pytest.raises(DeadlineError):
        data.checkout("digits", "master")


def test_a_download_from_a_server_that_hangs_ends_at_its_timeout(
    server: subprocess.Popen[bytes], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.commit(str(source), "digits")
    real = checkouts._store

    def store(*arguments: Any) -> checkouts.Stored:
        server.send_signal(signal.SIGSTOP)
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(checkouts, "_store", store)
        with pytest.raises(DeadlineError):
            data.checkout("digits", "master", timeout=3)
    server.send_signal(signal.SIGCONT)
    assert contents(data.checkout("digits", "master")) == contents(source)
