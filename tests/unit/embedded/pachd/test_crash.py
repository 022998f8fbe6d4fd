"""Whatever moment a writer is killed at, what is visible is whole, and the next writer carries on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd import open_client
from chandlery.embedded.pachd.store.store import Store

# Writes versions for ever: each stream replaces all files, some of them large, with content that tells the version.
WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from pachyderm_sdk.api import pfs
    from chandlery.embedded.pachd import open_client

    client = open_client(Path(sys.argv[1]))
    branch = pfs.Branch.from_uri("raw@master")
    head = client.pfs.inspect_branch(branch=branch).head
    if client.pfs.inspect_commit(commit=head).finishing.timestamp() == 0:
        client.pfs.drop_commit(commit=head)
    version = int(sys.argv[2])
    print("ready", flush=True)
    while True:
        version += 1
        commit = client.pfs.start_commit(branch=branch)
        operations = [pfs.ModifyFileRequest(set_commit=commit), pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path="/"))]
        for n in range(40):
            content = (b"%08d" % version) * (30_000 if n % 10 == 0 else 3)
            for at in range(0, len(content), 100_000):
                operations.append(pfs.ModifyFileRequest(add_file=pfs.AddFile(path=f"/f{n}", raw=content[at:at + 100_000])))
        client.pfs.modify_file(iter(operations))
        client.pfs.finish_commit(commit=commit)
    """
)


def check(client, branch):
    """Every finished commit holds one version in full; returns the last one."""
    last = 0
    for info in client.pfs.list_commit(repo=branch.repo):
        versions = set()
        files = list(client.pfs.list_file(file=pfs.File(commit=info.commit, path="/")))
        for file in files:
            content = b"".join(piece.value for piece in client.pfs.get_file(file=file.file))
            versions |= {content[at : at + 8] for at in range(0, len(content), 8)}
        if info.finished.timestamp() == 0:
            # The stream is one step: the open commit shows all of it or what was there before.
            assert len(versions) <= 1
            continue
        assert info.error == ""
        assert len(versions) == (1 if files else 0)
        assert len(files) in (0, 40)
        last = max([last, *map(int, versions)])
    return last


@pytest.mark.slow
def test_kill_at_random_moments(tmp_path):
    store = tmp_path / "store"
    client = open_client(store)
    branch = pfs.Branch.from_uri("raw@master")
    client.pfs.create_repo(repo=branch.repo)
    client.pfs.create_branch(branch=branch)
    moments = random.Random(3)
    last = 0
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store), str(last)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.15))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        last = check(client, branch)
    assert last > 0
    # What the killed ones left is garbage that goes away.
    Store(store).collect()
    assert os.listdir(store / "tmp") == []
    assert check(client, branch) == last


def test_unfinished_files_of_killed_writers_go_when_the_store_is_opened(tmp_path):
    open_client(tmp_path)
    (tmp_path / "tmp" / "left").write_bytes(b"x" * 100)
    open_client(tmp_path)
    assert os.listdir(tmp_path / "tmp") == []


def test_unfinished_files_stay_while_somebody_writes(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "tmp" / "being-written").write_bytes(b"x")
    with store.chunks.in_use():
        Store(tmp_path)
        assert os.listdir(tmp_path / "tmp") == ["being-written"]
