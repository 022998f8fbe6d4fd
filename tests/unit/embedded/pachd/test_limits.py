"""A full disk, bounded memory, garbage."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap

import grpc
import pytest
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd import open_client
from chandlery.embedded.pachd.store.chunks import ChunkStore
from chandlery.embedded.pachd.store.store import Store

MASTER = pfs.Branch.from_uri("raw@master")


@pytest.fixture
def client(tmp_path):
    client = open_client(tmp_path / "store")
    client.pfs.create_repo(repo=MASTER.repo)
    return client


def put_on_a_full_disk(client):
    """Put a file of 24 MiB that the disk has no room for, and show that nothing of it is to be seen."""
    with client.pfs.commit(branch=MASTER) as commit:
        commit.put_file_from_bytes("/small", b"kept")
    commit = client.pfs.start_commit(branch=MASTER)
    with pytest.raises(grpc.RpcError) as caught:
        client.pfs.put_file_from_bytes(commit=commit, path="/large", data=os.urandom(24 << 20))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    client.pfs.finish_commit(commit=commit)
    assert [info.file.path for info in client.pfs.list_file(file=pfs.File(commit=commit, path="/"))] == [
        "/small"
    ]
    return caught.value.details()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small tmpfs")
def test_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        client = open_client(disk / "store")
        client.pfs.create_repo(repo=MASTER.repo)
        assert "No space left on device" in put_on_a_full_disk(client)
        assert os.listdir(disk / "store" / "tmp") == []
        client._channel.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.slow
def test_file_too_large_for_the_disk(client, tmp_path):
    # The same without root: the system refuses to let a file grow beyond 4 MiB.
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, before[1]))
    try:
        assert "File too large" in put_on_a_full_disk(client)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path / "store" / "tmp") == []


STREAM = textwrap.dedent(
    """
    import os, resource, sys
    from pathlib import Path
    from pachyderm_sdk.api import pfs
    from chandlery.embedded.pachd import open_client

    class Source:
        left, block = int(sys.argv[2]) << 20, os.urandom(19 << 20)
        def read(self, size):
            size = min(size, self.left)
            self.left -= size
            return self.block[:size]

    client = open_client(Path(sys.argv[1]))
    client.pfs.create_repo(repo=pfs.Repo(name="raw"))
    with client.pfs.commit(branch=pfs.Branch.from_uri("raw@master")) as commit:
        commit.put_file_from_file(path="/large", file=Source())
    read = sum(len(m.value) for m in client.pfs.get_file(file=pfs.File(commit=commit, path="/large")))
    assert read == int(sys.argv[2]) << 20
    status = Path("/proc/self/status")
    if status.exists():  # on Linux ru_maxrss begins with the peak of the process that started this one
        print(next(int(line.split()[1]) >> 10 for line in status.read_text().splitlines() if "VmHWM" in line))
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20)
    """
)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", STREAM, str(tmp_path), "800"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert int(done.stdout) < 256


def test_collecting_keeps_what_is_referred_to(client, tmp_path):
    store = Store(tmp_path / "store")
    kept, lost = os.urandom(100_000), os.urandom(200_000)
    with client.pfs.commit(branch=MASTER) as commit:
        commit.put_file_from_bytes("/kept", kept)
    half = client.pfs.start_commit(branch=MASTER)
    client.pfs.put_file_from_bytes(commit=half, path="/lost", data=lost)
    assert store.collect() == 0
    client.pfs.drop_commit(commit=half)
    chunks = [path for path in (tmp_path / "store" / "chunks").rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in chunks] == [len(kept)]
    assert client.pfs.pfs_file(pfs.File(commit=commit, path="/kept")).read() == kept


def test_nothing_is_collected_while_somebody_reads(client, tmp_path):
    store = Store(tmp_path / "store")
    with client.pfs.commit(branch=MASTER) as commit:
        commit.put_file_from_bytes("/a", os.urandom(9 << 20))
    pieces = client.pfs.get_file(file=pfs.File(commit=commit, path="/a"))
    first = next(pieces).value
    client.pfs.drop_commit(commit=commit)
    assert len(first) + sum(len(piece.value) for piece in pieces) == 9 << 20
    assert store.collect() >= 9 << 20


def test_an_abandoned_stream_lets_go(client, tmp_path):
    with client.pfs.commit(branch=MASTER) as commit:
        commit.put_file_from_bytes("/a", os.urandom(9 << 20))
    pieces = client.pfs.get_file(file=pfs.File(commit=commit, path="/a"))
    next(pieces)
    chunks = ChunkStore(tmp_path / "store")
    with chunks.alone() as alone:
        assert not alone
    del pieces
    with chunks.alone() as alone:
        assert alone


def test_a_damaged_chunk_is_told(client, tmp_path):
    with client.pfs.commit(branch=MASTER) as commit:
        commit.put_file_from_bytes("/a", os.urandom(100_000))
    [chunk] = [path for path in (tmp_path / "store" / "chunks").rglob("*") if path.is_file()]
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(grpc.RpcError) as caught:
        list(client.pfs.get_file(file=pfs.File(commit=commit, path="/a")))
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
