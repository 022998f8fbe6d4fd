"""Many processes on one store."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import textwrap

import pytest
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd import open_client

WRITER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    import grpc
    from pachyderm_sdk.api import pfs
    from chandlery.embedded.pachd import open_client

    client = open_client(Path(sys.argv[1]))
    shared, own = pfs.Branch.from_uri("raw@shared"), pfs.Branch.from_uri("raw@own" + sys.argv[2])
    deadline = time.monotonic() + 50
    for n in range(10):
        # One open commit a branch: who comes second is refused and tries again.
        while True:
            try:
                commit = client.pfs.start_commit(branch=shared)
                break
            except grpc.RpcError as error:
                if "has not been finished" not in error.details() or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
        client.pfs.put_file_from_bytes(commit=commit, path=f"/{sys.argv[2]}-{n}", data=b"x" * 20_000)
        client.pfs.finish_commit(commit=commit)
        with client.pfs.commit(branch=own) as commit:
            commit.put_file_from_bytes("/log", b"%d\\n" % n, append=True)
    """
)


@pytest.mark.slow
def test_writers_neither_lose_nor_double_anything(tmp_path):
    client = open_client(tmp_path)
    client.pfs.create_repo(repo=pfs.Repo(name="raw"))
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(n)]) for n in range(3)]
    assert [writer.wait(55) for writer in writers] == [0, 0, 0]
    head = pfs.Commit.from_uri("raw@shared")
    listed = [info.file.path for info in client.pfs.list_file(file=pfs.File(commit=head, path="/"))]
    assert listed == sorted(f"/{writer}-{n}" for writer in range(3) for n in range(10))
    line = list(client.pfs.list_commit(repo=pfs.Repo(name="raw"), to=head))
    assert len(line) == 30, "a line of thirty commits, none forked off"
    for n in range(3):
        log = client.pfs.pfs_file(pfs.File(commit=pfs.Commit.from_uri(f"raw@own{n}"), path="/log")).read()
        assert log == b"".join(b"%d\n" % at for at in range(10))


def make_repo(folder, name):
    open_client(folder).pfs.create_repo(repo=pfs.Repo(name=name))


@pytest.mark.slow
def test_a_store_is_made_once_however_many_open_it_first(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        pool.starmap(make_repo, [(tmp_path / "new", f"r{n}") for n in range(9)])
    names = [info.repo.name for info in open_client(tmp_path / "new").pfs.list_repo()]
    assert names == [f"r{n}" for n in range(9)]


def use_after_fork(client, queue):
    with client.pfs.commit(branch=pfs.Branch.from_uri("raw@child")) as commit:
        commit.put_file_from_bytes("/a", b"child")
    queue.put(commit.id)


@pytest.mark.slow
def test_a_client_may_be_used_in_a_forked_process(tmp_path):
    client = open_client(tmp_path)
    client.pfs.create_repo(repo=pfs.Repo(name="raw"))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=use_after_fork, args=(client, queue))
    child.start()
    id_ = queue.get(timeout=30)
    child.join(30)
    assert client.pfs.inspect_branch(branch=pfs.Branch.from_uri("raw@child")).head.id == id_
