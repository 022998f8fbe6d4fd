"""Any sequence of commits and ModifyFile streams shows what a plain dict would show."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pachyderm_sdk.api import pfs

from .words import digest

# Names that sort around the slash and nest, so that byte order and subtrees are put to the test.
PATHS = st.sampled_from(
    ["/a", "/a-", "/a.b", "/d/x", "/d/y", "/d/e/x", "/d/e/z", "/d-/x", "/d.x", "/f", "/g/h/i/j"]
)
FOLDERS = st.sampled_from(["/", "/d/", "/d/e/", "/g/", "/none/", "/d"])
CONTENT = st.binary(max_size=20)
OPERATION = st.one_of(
    st.tuples(st.just("add"), PATHS, CONTENT),
    st.tuples(st.just("put"), PATHS, CONTENT),
    st.tuples(st.just("delete"), st.one_of(PATHS, FOLDERS), st.none()),
    st.tuples(st.just("copy"), PATHS, PATHS),
)
STREAM = st.lists(OPERATION, max_size=6)
COMMIT = st.tuples(
    st.lists(STREAM, max_size=3), st.sampled_from(["finish", "finish", "finish", "error", "drop"])
)


def possible_of(stream, source):
    """Leave out copies of what the source has not, and what would write to a file that the stream copied to."""
    copied, possible = set(), []
    for kind, path, value in stream:
        if kind == "copy" and path in source:
            copied.add(value)
        elif kind in ("put", "delete"):
            copied = {
                each for each in copied if each != path and not (path.endswith("/") and each.startswith(path))
            }
        elif kind == "copy" or path in copied:
            continue
        possible.append((kind, path, value))
    return possible


def simulate(files, stream, source):
    files = dict(files)
    for kind, path, value in stream:
        if kind == "add":
            files[path] = files.get(path, b"") + value
        elif kind == "put":
            files[path] = value
        elif kind == "copy":
            files[value] = source[path]
        elif path.endswith("/"):
            files = {each: content for each, content in files.items() if not each.startswith(path)}
        else:
            files.pop(path, None)
    return files


def requests(commit, stream, source_commit):
    yield pfs.ModifyFileRequest(set_commit=commit)
    for kind, path, value in stream:
        if kind in ("put", "delete"):
            yield pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path=path))
        if kind in ("put", "add"):
            # In two messages, as large files come.
            yield pfs.ModifyFileRequest(add_file=pfs.AddFile(path=path, raw=value[:3]))
            yield pfs.ModifyFileRequest(add_file=pfs.AddFile(path=path, raw=value[3:]))
        if kind == "copy":
            source = pfs.File(commit=source_commit, path=path)
            yield pfs.ModifyFileRequest(copy_file=pfs.CopyFile(dst=value, src=source))


def shown(client, commit, is_open=False):
    """Return all files by a listing and by reading each, checked against each other."""
    found = {}
    listed = list(client.pfs.walk_file(file=pfs.File(commit=commit, path="/")))
    order = [info.file.path for info in listed]
    assert order == sorted(order, key=str.encode)
    for info in listed:
        if info.file_type == pfs.FileType.FILE:
            content = b"".join(piece.value for piece in client.pfs.get_file(file=info.file))
            assert info.size_bytes == len(content)
            # pachd's hash of an empty file in an open commit is another one (test_digests.py).
            if content or not is_open:
                assert info.hash == digest(digest(content) if content else b"")
            found[info.file.path] = content
    return found


@pytest.mark.slow
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(COMMIT, max_size=7))
def test_history_shows_what_a_dict_would(client, history):
    """Any history of commits, streams, errors, drops and squashes shows what a plain mapping would."""
    repo = pfs.Repo(name=f"contract-{uuid.uuid4().hex[:12]}")
    client.pfs.create_repo(repo=repo)
    branch = pfs.Branch(name="master", repo=repo)
    head: dict[str, bytes] = {}
    kept = []
    source, source_commit = {}, None
    for streams, end in history:
        commit = client.pfs.start_commit(branch=branch)
        now = head
        for stream in streams:
            possible = possible_of(stream, source)
            now = simulate(now, possible, source)
            client.pfs.modify_file(requests(commit, possible, source_commit))
        assert shown(client, commit, is_open=True) == now
        if end == "drop":
            client.pfs.drop_commit(commit=commit)
            continue
        client.pfs.finish_commit(commit=commit, error="given up" if end == "error" else "")
        if end == "finish":
            info = client.pfs.inspect_commit(commit=commit, wait=pfs.CommitState.FINISHED)
            assert info.error == ""
            assert info.details.size_bytes == sum(map(len, now.values()))
            head = source = now
            source_commit = commit
            kept.append((commit, now))
    for commit, expected in kept:
        assert shown(client, commit) == expected
    # Squashing from the oldest on must not change what the others show.
    for at, (commit, _) in enumerate(kept[:-1]):
        if any(True for _ in client.pfs.inspect_commit(commit=commit).child_commits):
            client.pfs.squash_commit(commit=commit)
        for other, expected in kept[at + 1 :]:
            assert shown(client, other) == expected
    client.pfs.delete_repo(repo=repo, force=True)
