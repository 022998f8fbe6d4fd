"""The socket face under many clients: other processes, several threads, 64 calls that wait."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import grpc
import psutil
import pytest
from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs

WAITERS = 64
GENEROUS_SECONDS = 120.0
SERVE = """
import sys
from pathlib import Path
from chandlery.embedded.pachd.faces.server import serve
serve(Path(sys.argv[1]), sys.argv[2])
"""
# An SDK client of another process, which knows of Chandlery nothing but an address.
COMMIT = """
import sys
from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs
client = Client(host="unix", port=sys.argv[1])
for n in range(5):
    with client.pfs.commit(branch=pfs.Branch.from_uri("other@master")) as commit:
        commit.put_file_from_bytes(f"/{n}", str(n).encode())
    commit.wait()
print(len(list(client.pfs.list_file(file=pfs.File(commit=commit, path="/")))))
"""


class Served(NamedTuple):
    address: str
    pid: int


@pytest.fixture
def served(tmp_path):
    """A server in a process of its own, on a socket."""
    socket = Path("/tmp") / f"chandlery-{tmp_path.name}.sock"  # a socket's path may have about 100 characters
    arguments = [sys.executable, "-c", SERVE, str(tmp_path / "store"), f"unix://{socket}"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert str(socket) in process.stdout.readline()
    yield Served(str(socket), process.pid)
    process.terminate()
    process.wait(30)
    process.stdout.close()
    socket.unlink(missing_ok=True)


class Deadline(grpc.UnaryUnaryClientInterceptor):
    """Gives every call of one answer a deadline."""

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(details._replace(timeout=GENEROUS_SECONDS), request)


def connect(address):
    client = Client(host="unix", port=address)
    client._channel = grpc.intercept_channel(client._channel, Deadline())
    client._init_api()
    return client


def test_64_waiters_starve_nobody(served):
    """While 64 calls wait, clients in threads and in another process go on; then all 64 are answered."""
    address = served.address
    client = connect(address)
    for name in ("raw", "other"):
        client.pfs.create_repo(repo=pfs.Repo(name=name))
    branch = pfs.Branch.from_uri("raw@master")
    awaited = client.pfs.start_commit(branch=branch)
    asked = threading.Barrier(WAITERS + 1)

    def wait(waiter):
        asked.wait(GENEROUS_SECONDS)
        return waiter.pfs.inspect_commit(commit=awaited, wait=pfs.CommitState.FINISHED)

    def work(number):
        own = connect(address)
        dev = pfs.Branch.from_uri(f"raw@dev{number}")
        for at in range(5):
            with own.pfs.commit(branch=dev) as commit:
                commit.put_file_from_bytes(f"/{at}", b"x")
            assert own.pfs.wait_commit(commit).error == ""
        return len(list(own.pfs.list_file(file=pfs.File(commit=commit, path="/"))))

    # Four channels, sixteen threads to each: an SDK client is shared by threads as well as opened by each.
    waiters = [connect(address) for _ in range(4)]
    with ThreadPoolExecutor(WAITERS) as waiting, ThreadPoolExecutor(4) as working:
        answers = [waiting.submit(wait, waiters[at % 4]) for at in range(WAITERS)]
        asked.wait(GENEROUS_SECONDS)
        other = subprocess.Popen([sys.executable, "-c", COMMIT, address], stdout=subprocess.PIPE, text=True)
        assert list(working.map(work, range(4), timeout=GENEROUS_SECONDS)) == [5] * 4
        assert other.communicate(timeout=GENEROUS_SECONDS)[0].strip() == "5"
        assert not any(answer.done() for answer in answers)
        client.pfs.finish_commit(commit=awaited)
        finished = [answer.result(GENEROUS_SECONDS) for answer in answers]
    assert {info.commit.id for info in finished} == {awaited.id}
    assert all(info.finished.timestamp() > 0 for info in finished)


def test_waiters_whose_client_is_gone_give_their_threads_back(served):
    """Calls whose client went away end on the server, so that any number may come after them."""
    keeper = connect(served.address)
    keeper.pfs.create_repo(repo=pfs.Repo(name="raw"))
    awaited = keeper.pfs.start_commit(branch=pfs.Branch.from_uri("raw@master"))
    for _ in range(4):
        gone = Client(host="unix", port=served.address)
        with ThreadPoolExecutor(WAITERS) as waiting:
            calls = [waiting.submit(gone.pfs.wait_commit, awaited) for _ in range(WAITERS)]
            time.sleep(0.2)
            gone._channel.close()
            assert all(call.exception(GENEROUS_SECONDS) is not None for call in calls)
    # Those of one round may still be ending while the next one comes, those of all four not.
    assert psutil.Process(served.pid).num_threads() < 4 * WAITERS - 20
    keeper.pfs.finish_commit(commit=awaited)
    assert keeper.pfs.wait_commit(awaited).finished.timestamp() > 0
