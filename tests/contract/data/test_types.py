"""What is not of the type that its field has cannot be sent, whichever way the messages go."""

from __future__ import annotations

import time

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import add, commit, listed, modify, read


@pytest.mark.parametrize(
    "call",
    [
        lambda pfs_: pfs_.create_repo(repo=pfs.Repo(name="contract-types"), description=5),
        lambda pfs_: pfs_.inspect_repo(repo="banana"),
        lambda pfs_: pfs_.create_repo(repo=pfs.Repo(name=b"contract-types")),
        lambda pfs_: pfs_.create_repo(repo=pfs.Repo(name="contract-types"), update="yes"),
        lambda pfs_: list(pfs_.list_repo(type=True)),
        lambda pfs_: list(pfs_.list_repo(projects=["default"])),
        lambda pfs_: pfs_.create_repo(repo=pfs.Repo(name="contract-types", project=pfs.Project(name=7))),
        lambda pfs_: pfs_.create_repo(repo=pfs.Repo(name="contract-types"), description="\ud800"),
    ],
    ids=["number", "text", "bytes", "bool", "flag", "in a list", "within", "surrogate"],
)
def test_a_value_of_a_wrong_type_is_a_type_error(client, call):
    """A value that its field cannot hold is a TypeError, and nothing is stored."""
    with pytest.raises(TypeError):
        call(client.pfs)
    assert not client.pfs.repo_exists(pfs.Repo(name="contract-types"))


@pytest.mark.parametrize(
    "operation",
    [
        pfs.ModifyFileRequest(add_file=pfs.AddFile(path=5, raw=b"1")),
        pfs.ModifyFileRequest(add_file=pfs.AddFile(path="/b", raw="text")),
        pfs.ModifyFileRequest(delete_file="/a"),
    ],
    ids=["path", "content", "message"],
)
def test_a_wrong_type_within_a_stream_leaves_nothing(client, master, operation):
    """A stream with such a value is a TypeError as a whole."""
    new = client.pfs.start_commit(branch=master)
    with pytest.raises(TypeError):
        modify(client, new, add("/a", b"1"), operation)
    until = time.monotonic() + 5  # over a socket the server hears of it a moment later
    while listed(client, new) and time.monotonic() < until:
        time.sleep(0.01)
    assert listed(client, new) == []
    client.pfs.finish_commit(commit=new)


def test_none_is_a_value_that_was_not_given(client, repo):
    """None means that a field is not set."""
    client.pfs.create_repo(repo=repo, description=None, update=True)
    assert client.pfs.inspect_repo(repo=repo).description == ""


def test_a_number_is_what_its_field_holds(client, master, put, refused):
    """A number beyond 32 bits arrives as it is, where the field has 64."""
    root = pfs.File(commit=put(master, {}), path="/")
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.list_file(file=root, number=2**40))
    assert "cannot return more than" in text


def test_a_buffer_may_be_used_again(client, master):
    """What is sent is what a buffer held at that time, not what its owner writes into it later."""
    new = client.pfs.start_commit(branch=master)

    def requests():
        yield pfs.ModifyFileRequest(set_commit=new)
        buffer = bytearray(1)
        for letter in b"abc":
            buffer[0] = letter
            yield pfs.ModifyFileRequest(add_file=pfs.AddFile(path="/a", raw=buffer))

    client.pfs.modify_file(requests())
    client.pfs.finish_commit(commit=new)
    assert read(client, commit(master.repo, new.id), "/a") == b"abc"


def test_other_letters_than_ascii_are_text(client, repo):
    """A description may hold any text."""
    client.pfs.create_repo(repo=repo, description="naïve 日本", update=True)
    assert client.pfs.inspect_repo(repo=repo).description == "naïve 日本"
