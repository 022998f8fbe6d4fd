"""Metadata: keys and values on projects, repos, branches and commits."""

from __future__ import annotations

import uuid

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import metadata, pfs


@pytest.fixture
def edit(client):
    """Send edits: `edit(target_kind=picker, operation=...)`."""
    return lambda **parts: client.metadata.edit_metadata(edits=[metadata.Edit(**parts)])


def test_keys_are_added_edited_and_deleted(client, master, put, edit):
    """A key of a commit is added, changed and deleted."""
    new = put(master, {})
    edit(commit=new.as_picker(), add_key=metadata.EditAddKey(key="run", value="1"))
    edit(commit=new.as_picker(), edit_key=metadata.EditEditKey(key="mlflow", value="2"))
    assert client.pfs.inspect_commit(commit=new).metadata == {"run": "1", "mlflow": "2"}
    edit(commit=new.as_picker(), edit_key=metadata.EditEditKey(key="run", value="3"))
    assert client.pfs.inspect_commit(commit=new).metadata == {"run": "3", "mlflow": "2"}
    edit(commit=new.as_picker(), delete_key=metadata.EditDeleteKey(key="run"))
    assert client.pfs.inspect_commit(commit=new).metadata == {"mlflow": "2"}


def test_all_keys_are_replaced(client, master, put, edit):
    """Replace sets all keys at once."""
    put(master, {})
    edit(branch=master.as_picker(), add_key=metadata.EditAddKey(key="old", value="1"))
    edit(branch=master.as_picker(), replace=metadata.EditReplace(replacement={"a": "b"}))
    assert client.pfs.inspect_branch(branch=master).metadata == {"a": "b"}


def test_a_repo_and_a_project_have_metadata(client, repo, edit):
    """Repos and projects have metadata as commits and branches have."""
    edit(repo=repo.as_picker(), edit_key=metadata.EditEditKey(key="k", value="v"))
    assert client.pfs.inspect_repo(repo=repo).metadata == {"k": "v"}
    project = pfs.Project(name=f"contract-{uuid.uuid4().hex[:8]}")
    client.pfs.create_project(project=project)
    edit(project=project.as_picker(), add_key=metadata.EditAddKey(key="k", value="v"))
    assert client.pfs.inspect_project(project=project).metadata == {"k": "v"}
    client.pfs.delete_project(project=project)


def test_metadata_outlives_the_next_commit(client, master, put, edit):
    """The metadata of a branch stays when its head moves; a commit's is not handed to its child."""
    first = put(master, {})
    edit(branch=master.as_picker(), add_key=metadata.EditAddKey(key="k", value="v"))
    edit(commit=first.as_picker(), add_key=metadata.EditAddKey(key="run", value="1"))
    second = put(master, {})
    assert client.pfs.inspect_branch(branch=master).metadata == {"k": "v"}
    assert client.pfs.inspect_commit(commit=second).metadata == {}


def test_an_existing_key_is_not_added(client, repo, edit, refused):
    """Adding a key that is there is refused: `already exists`."""
    edit(repo=repo.as_picker(), add_key=metadata.EditAddKey(key="k", value="v"))
    again = metadata.EditAddKey(key="k", value="w")
    text = refused(StatusCode.FAILED_PRECONDITION, lambda: edit(repo=repo.as_picker(), add_key=again))
    assert "already exists" in text
    assert client.pfs.inspect_repo(repo=repo).metadata == {"k": "v"}


def test_edits_are_made_together_or_not_at_all(client, repo, refused):
    """One edit that is refused undoes the others of the request."""
    target = repo.as_picker()
    edits = [
        metadata.Edit(repo=target, add_key=metadata.EditAddKey(key="a", value="1")),
        metadata.Edit(repo=target, add_key=metadata.EditAddKey(key="a", value="2")),
    ]
    refused(StatusCode.FAILED_PRECONDITION, lambda: client.metadata.edit_metadata(edits=edits))
    assert client.pfs.inspect_repo(repo=repo).metadata == {}


def test_a_missing_key_is_deleted_without_complaint(client, repo, edit):
    """Deleting a key that is not there is no error."""
    edit(repo=repo.as_picker(), delete_key=metadata.EditDeleteKey(key="nothing"))
    assert client.pfs.inspect_repo(repo=repo).metadata == {}


def test_a_missing_target_is_not_found(client, edit, refused):
    """Metadata of a repo that is not there is refused as UNKNOWN: `not found`."""
    nowhere = pfs.Repo(name="contract-nowhere").as_picker()
    key = metadata.EditAddKey(key="a", value="1")
    assert "not found" in refused(StatusCode.UNKNOWN, lambda: edit(repo=nowhere, add_key=key))
