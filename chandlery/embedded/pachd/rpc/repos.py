"""Projects and repos."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from betterproto.lib.google.protobuf import Empty
from grpc import StatusCode
from pachyderm_sdk.api import pfs

from chandlery.embedded.pachd.rpc import messages, references
from chandlery.embedded.pachd.rpc.calls import Call, rpc
from chandlery.embedded.pachd.store import graph, paths, tables
from chandlery.embedded.pachd.store.database import now
from chandlery.embedded.pachd.store.failure import (
    ServiceError,
    already_exists,
    invalid,
    not_found,
    unimplemented,
    unknown,
)
from chandlery.embedded.pachd.store.tables import Connection


@rpc("/pfs_v2.API/CreateProject", pfs.CreateProjectRequest)
def create_project(call: Call, request: Any) -> Any:
    """Make a project, or change its description with `update`."""
    name = paths.check_project(request.project.name)
    with call.store.work() as work:
        if request.update:
            if not _project_exists(work.db, name):
                raise not_found(f"project {name} not found")
            work.db.execute("UPDATE project SET description = ? WHERE name = ?", (request.description, name))
        else:
            if _project_exists(work.db, name):
                raise already_exists(f"project {name} already exists")
            work.db.execute(
                "INSERT INTO project (name, description, created) VALUES (?, ?, ?)",
                (name, request.description, now()),
            )
    return Empty()


@rpc("/pfs_v2.API/InspectProject", pfs.InspectProjectRequest)
def inspect_project(call: Call, request: Any) -> Any:
    """Describe a project."""
    with call.store.database.reading() as db:
        for info in _project_infos(db, request.project.name or "default"):
            return info
    raise not_found(f"project {request.project.name} not found")


@rpc("/pfs_v2.API/ListProject", pfs.ListProjectRequest)
def list_project(call: Call, request: Any) -> Iterator[Any]:
    """Describe all projects in order of their names."""
    with call.store.database.reading() as db:
        yield from _project_infos(db)


@rpc("/pfs_v2.API/DeleteProject", pfs.DeleteProjectRequest)
def delete_project(call: Call, request: Any) -> Any:
    """Delete a project; with `force` also one that has repos."""
    name = request.project.name or "default"
    with call.store.work() as work:
        if not _project_exists(work.db, name):
            raise not_found(f"project {name} not found")
        for repo in [repo for repo in tables.repos(work.db) if repo.project == name]:
            if not request.force:
                raise ServiceError(
                    StatusCode.FAILED_PRECONDITION, f"cannot delete project {name}: repo {repo} still exists"
                )
            graph.delete_repo(work, repo, force=True)
        work.db.execute("DELETE FROM project WHERE name = ?", (name,))
    return Empty()


def create_repo_in(work: graph.Work, request: Any) -> None:
    """Make a repo within a transaction."""
    if not request.repo.name:
        raise invalid("a repo name is required")
    name, project = paths.check_name("repo", request.repo.name), request.repo.project.name or "default"
    type_ = request.repo.type or "user"
    if type_ not in ("user", "meta", "spec"):
        raise unknown(f"repo type ({type_}) invalid: must be user, meta or spec")
    if not _project_exists(work.db, project):
        raise not_found(f"project {project} not found")
    found = tables.find_repo(work.db, project, name, type_)
    if found and not request.update:
        raise already_exists(f"repo {found} already exists")
    if found:
        work.db.execute("UPDATE repo SET description = ? WHERE pk = ?", (request.description, found.pk))
    else:
        work.db.execute(
            "INSERT INTO repo (project, name, type, description, created) VALUES (?, ?, ?, ?, ?)",
            (project, name, type_, request.description, now()),
        )


@rpc("/pfs_v2.API/CreateRepo", pfs.CreateRepoRequest, joins="create_repo", work=create_repo_in)
def create_repo(call: Call, request: Any) -> Any:
    """Make a repo, or change its description with `update`."""
    with call.store.work() as work:
        create_repo_in(work, request)
    return Empty()


@rpc("/pfs_v2.API/InspectRepo", pfs.InspectRepoRequest)
def inspect_repo(call: Call, request: Any) -> Any:
    """Describe a repo."""
    with call.store.database.reading() as db:
        return messages.repo_info(db, references.repo(db, request.repo), details=True)


@rpc("/pfs_v2.API/ListRepo", pfs.ListRepoRequest)
def list_repo(call: Call, request: Any) -> Iterator[Any]:
    """Describe all repos, or those of a type and of some projects, in order of project and name."""
    page = request.page
    if page and (page.page_size or page.page_index):
        raise unimplemented("ListRepo by pages")
    projects = {project.name for project in request.projects}
    with call.store.database.reading() as db:
        for repo in tables.repos(db):
            if request.type in ("", repo.type) and (not projects or repo.project in projects):
                yield messages.repo_info(db, repo, details=False)


def delete_repo_in(work: graph.Work, request: Any) -> bool:
    """Delete a repo within a transaction; returns whether there was one."""
    if not request.repo.name:
        raise invalid("a repo name is required")
    found = tables.find_repo(
        work.db, request.repo.project.name or "default", request.repo.name, request.repo.type
    )
    if found:
        graph.delete_repo(work, found, request.force)
    return found is not None


@rpc(
    "/pfs_v2.API/DeleteRepo",
    pfs.DeleteRepoRequest,
    joins="delete_repo",
    work=delete_repo_in,
    joined=lambda _: pfs.DeleteRepoResponse(deleted=False),
)
def delete_repo(call: Call, request: Any) -> Any:
    """Delete a repo; a missing one is not an error, as in pachd."""
    with call.store.work() as work:
        deleted = delete_repo_in(work, request)
    call.store.collect()
    return pfs.DeleteRepoResponse(deleted=deleted)


@rpc("/pfs_v2.API/DeleteRepos", pfs.DeleteReposRequest)
def delete_repos(call: Call, request: Any) -> Any:
    """Delete all repos, or all of some projects."""
    projects = {project.name for project in request.projects}
    with call.store.work() as work:
        victims = [repo for repo in tables.repos(work.db) if request.all or repo.project in projects]
        keys = {repo.pk for repo in victims}
        for repo in victims:
            # Repos that are deleted together may depend on each other; others may not.
            for branch in tables.branches(work.db, "repo = ?", repo.pk):
                outside = [
                    each for each in tables.branch_dependants(work.db, branch) if each.repo not in keys
                ]
                if outside and not request.force:
                    raise unknown(
                        f"repo {repo} cannot be deleted: {outside[0].name} depends on its branch {branch.name}"
                    )
        for repo in victims:
            graph.delete_repo(work, repo, force=True)
    call.store.collect()
    return pfs.DeleteReposResponse(repos=[messages.repo(repo) for repo in victims])


def _project_exists(db: Connection, name: str) -> bool:
    return db.execute("SELECT 1 FROM project WHERE name = ?", (name,)).fetchone() is not None


def _project_infos(db: Connection, name: str = "") -> Iterator[Any]:
    rows = db.execute(
        "SELECT name, description, created, metadata FROM project WHERE ? IN ('', name) ORDER BY name",
        (name,),
    ).fetchall()
    for found, description, created, metadata in rows:
        yield pfs.ProjectInfo(
            project=pfs.Project(name=found),
            description=description,
            created_at=messages.time_of(created),
            metadata=tables.metadata_of(metadata),
        )
