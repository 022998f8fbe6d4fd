"""Projects, repos and branches: what they may be called, how they come and go."""

from __future__ import annotations

import uuid

import pytest
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from .words import branch, commit


def fresh() -> str:
    return f"contract-{uuid.uuid4().hex[:12]}"


@pytest.mark.parametrize("name", ["with.dot", "with space", "ünicode", "a/b", "a@b"])
def test_repo_names_are_letters_digits_dashes_underscores(client, refused, name):
    """A repo name with any other sign than letters, digits, - and _ is refused as UNKNOWN."""
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.create_repo(repo=pfs.Repo(name=name)))
    assert "invalid" in text


@pytest.mark.parametrize("name", ["v1.0", "a b", "a/b", "a^2"])
def test_branch_names_are_letters_digits_dashes_underscores(client, repo, refused, name):
    """A branch name with any other sign than letters, digits, - and _ is refused as UNKNOWN."""
    text = refused(StatusCode.UNKNOWN, lambda: client.pfs.create_branch(branch=branch(repo, name)))
    assert "invalid" in text


@pytest.mark.parametrize("name", ["-dash-first", "with.dot", "x" * 52])
def test_project_names_begin_with_a_letter_or_digit_and_are_short(client, refused, name):
    """A project name that begins with a dash, has a dot or more than 51 signs is refused as UNKNOWN."""
    project = pfs.Project(name=name)
    refused(StatusCode.UNKNOWN, lambda: client.pfs.create_project(project=project))


def test_a_branch_cannot_look_like_a_commit(client, repo, refused):
    """A branch name of the form of a commit id is refused."""
    name = "0123456789ab4123456789abcdefabcd"
    refused(StatusCode.UNKNOWN, lambda: client.pfs.create_branch(branch=branch(repo, name)))


def test_a_missing_repo_is_not_found(client, refused):
    """Inspecting, listing and starting a commit in a missing repo is NOT_FOUND."""
    nowhere = pfs.Repo(name=fresh())
    assert "not found" in refused(StatusCode.NOT_FOUND, lambda: client.pfs.inspect_repo(repo=nowhere))
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.list_commit(repo=nowhere))
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.start_commit(branch=branch(nowhere)))
    assert not client.pfs.repo_exists(nowhere)


def test_an_existing_repo_is_refused_unless_it_is_updated(client, repo, refused):
    """Creating a repo again is ALREADY_EXISTS; with update=True it changes the description."""
    assert "already exists" in refused(StatusCode.ALREADY_EXISTS, lambda: client.pfs.create_repo(repo=repo))
    client.pfs.create_repo(repo=repo, update=True, description="changed")
    assert client.pfs.inspect_repo(repo=repo).description == "changed"


def test_the_project_default_is_implied(client, repo):
    """A repo named without a project is in the project `default`."""
    info = client.pfs.inspect_repo(repo=pfs.Repo(name=repo.name, project=pfs.Project(name="default")))
    assert (info.repo.name, info.repo.type, info.repo.project.name) == (repo.name, "user", "default")


def test_a_new_repo_has_no_branch(client, repo):
    """A new repo has neither branch nor commit."""
    assert client.pfs.inspect_repo(repo=repo).branches == []
    assert list(client.pfs.list_branch(repo=repo)) == []
    assert list(client.pfs.list_commit(repo=repo)) == []


def test_deleting_a_repo_takes_its_commits(client, master, put):
    """A deleted repo is gone with its branches and commits; one made under its name is empty."""
    first = put(master, {"/a": b"1"})
    assert client.pfs.delete_repo(repo=master.repo).deleted
    assert not client.pfs.repo_exists(master.repo)
    client.pfs.create_repo(repo=master.repo)
    assert not client.pfs.commit_exists(commit(master.repo, first.id))
    assert list(client.pfs.list_commit(repo=master.repo)) == []


def test_deleting_a_missing_repo_is_no_error(client):
    """Deleting a repo that is not there answers deleted=False."""
    assert not client.pfs.delete_repo(repo=pfs.Repo(name=fresh())).deleted


def test_repos_are_listed(client, new_repo):
    """ListRepo tells of every repo of a type, or of a project."""
    made = {new_repo().name, new_repo().name}
    assert made <= {info.repo.name for info in client.pfs.list_repo()}
    default = [pfs.Project(name="default")]
    assert made <= {info.repo.name for info in client.pfs.list_repo(type="user", projects=default)}


def test_the_size_of_a_repo_is_that_of_its_master(client, master, put):
    """The size of a repo is what the head of its branch `master` shows."""
    put(master, {"/a": b"12345"})
    put(branch(master.repo, "other"), {"/b": b"1234567890"})
    assert client.pfs.inspect_repo(repo=master.repo).details.size_bytes == 5


def test_the_life_of_a_project(client, refused):
    """A project holds repos of its own, and is deleted only when it has none."""
    project = pfs.Project(name=fresh())
    client.pfs.create_project(project=project, description="one")
    assert client.pfs.inspect_project(project=project).description == "one"
    assert project.name in {info.project.name for info in client.pfs.list_project()}
    refused(StatusCode.ALREADY_EXISTS, lambda: client.pfs.create_project(project=project))
    client.pfs.create_project(project=project, description="two", update=True)
    assert client.pfs.inspect_project(project=project).description == "two"
    repo = pfs.Repo(name="inner", project=project)
    client.pfs.create_repo(repo=repo)
    assert client.pfs.repo_exists(repo)
    assert not client.pfs.repo_exists(pfs.Repo(name="inner"))
    text = refused(StatusCode.FAILED_PRECONDITION, lambda: client.pfs.delete_project(project=project))
    assert "still exists" in text
    client.pfs.delete_repo(repo=repo)
    client.pfs.delete_project(project=project)
    assert not client.pfs.project_exists(project)


def test_a_missing_project_is_not_found(client, refused):
    """Inspecting a missing project, or making a repo in one, is NOT_FOUND."""
    project = pfs.Project(name=fresh())
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.inspect_project(project=project))
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.create_project(project=project, update=True))
    inner = pfs.Repo(name="inner", project=project)
    refused(StatusCode.NOT_FOUND, lambda: client.pfs.create_repo(repo=inner))


def test_version_and_cluster_are_told(client):
    """GetVersion tells a 2.x (or 0.0.0, as one that is no release does), InspectCluster an id."""
    assert client.get_version().major in (0, 2)
    assert client.admin.inspect_cluster().id


def test_auth_that_is_off_says_so(client):
    """Without auth, asking who one is raises the SDK's AuthServiceNotActivated."""
    from pachyderm_sdk.errors import AuthServiceNotActivated

    with pytest.raises(AuthServiceNotActivated):
        client.auth.who_am_i()


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.pfs.create_repo(repo=pfs.Repo(name="typed", type="user"), description=5),
        lambda client: client.pfs.inspect_repo(repo="banana"),
        lambda client: list(client.pfs.list_repo(type=True)),
        lambda client: client.pfs.create_repo(repo=pfs.Repo(name=7)),
    ],
)
def test_values_of_other_types_are_refused_before_anything_is_sent(client, call):
    """A message with a value of another type than its field's raises TypeError, and nothing is changed."""
    before = {info.repo.name for info in client.pfs.list_repo()}
    with pytest.raises((TypeError, AttributeError)):
        call(client)
    assert {info.repo.name for info in client.pfs.list_repo()} == before
