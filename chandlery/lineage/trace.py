"""From any reference to the whole thread that it is part of."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chandlery.errors import NotFoundError
from chandlery.lineage.node import Node
from chandlery.lineage.requests import LoggedRequest
from chandlery.lineage.sources import COMMIT, DataCommit, LocalRun, Search, Served, Sources


@dataclass
class _Thread:
    """Everything that belongs to the reference, before it is laid out as a tree."""

    asked: tuple[str, str]  # kind and name of the node that was asked for
    versions: list[Any] = field(default_factory=list)
    commits: dict[str, str] = field(default_factory=dict)  # commit id -> repo, "" when not known
    runs: set[str] = field(default_factory=set)
    whole_commit: bool = False  # everything that came of the commit, not only what leads to the reference
    whole_run: bool = False
    request: LoggedRequest | None = None


def trace(ref: str) -> Node:
    """Return the thread that `ref` is part of, from the data down.

    Args:
        ref: `repo@commit`, `repo@branch` or a commit id; a run id; `models:/name/version` or `models:/name@alias`;
            a deployment, `name` or `namespace/name`; an experiment; a request id.

    Returns:
        the data commit that everything came from. When it is not known the tree starts at the first thing that is;
        when several commits lead to a deployment it starts at the deployment.

    Raises:
        NotFoundError: nothing of that name; the hint names the systems that were searched.
    """
    sources = Sources()
    thread = _identify(ref, sources)
    if thread is None:
        raise NotFoundError(f"nothing is named {ref!r}", f"searched: {'; '.join(sources.searched)}")
    _complete(thread, sources)
    return _tree(thread, sources)


def _identify(ref: str, sources: Sources) -> _Thread | None:
    if ref.startswith("models:"):
        return _from_model(ref, sources)
    if "@" in ref:
        repo, _, name = ref.rpartition("@")
        return _from_commit(sources.commit(repo, name))
    named = _from_run(ref, sources) or _from_deployment(ref, sources) or _from_experiment(ref, sources)
    if named is None and COMMIT.fullmatch(ref):
        named = _from_commit(sources.commit("", ref))
    return named or _from_request(ref, sources) or _from_tags(ref, sources)


def _from_model(ref: str, sources: Sources) -> _Thread | None:
    from chandlery.registry.versions import parse

    name, version, alias = parse(ref)
    info = sources.version(name, version or alias)
    return _Thread(("model version", info.uri), [info]) if info else None


def _from_commit(found: DataCommit | None) -> _Thread | None:
    if found is None:
        return None
    name = f"{found.repo}@{found.commit}"
    return _Thread(("data commit", name), commits={found.commit: found.repo}, whole_commit=True)


def _from_run(ref: str, sources: Sources) -> _Thread | None:
    run = sources.run(ref)
    if run is None:
        return None
    commits = {run.commit: ""} if run.commit else {}
    return _Thread(("run", ref), commits=commits, runs={ref}, whole_run=True)


def _from_deployment(ref: str, sources: Sources) -> _Thread | None:
    served = [s for s in sources.served() if ref in (s.deployment, f"{s.namespace}/{s.deployment}")]
    if not served:
        return None
    versions = [sources.version(s.model_name, s.version) for s in served]
    name = f"{served[0].namespace}/{served[0].deployment}"
    return _Thread(("deployment", name), [info for info in versions if info])


def _from_experiment(ref: str, sources: Sources) -> _Thread | None:
    for search in sources.searches():
        if search.name == ref:
            record = search.record
            thread = _Thread(("experiment", ref), runs={record.run_id} - {""}, whole_run=True)
            thread.commits.update({record.data_commit: record.data_repo} if record.data_commit else {})
            return thread
    return None


def _from_request(ref: str, sources: Sources) -> _Thread | None:
    request = sources.request(ref)
    if request is None:
        return None
    info = sources.version(request.model_name, request.model_version)
    return _Thread(("request", ref), [info] if info else [], request=request)


def _from_tags(ref: str, sources: Sources) -> _Thread | None:
    """A run of another machine, or an MLflow run, known only from what it registered; data that pachd has lost."""
    if versions := sources.versions(run_id=ref):
        return _Thread(("run", ref), versions, runs={ref}, whole_run=True)
    if versions := sources.versions(mlflow_run_id=ref):
        return _Thread(("model version", versions[0].uri), versions)
    if versions := sources.versions(data_commit=ref):
        return _Thread(("data commit", f"{versions[0].provenance.data_repo}@{ref}"), versions)
    return None


def _complete(thread: _Thread, sources: Sources) -> None:
    """Follow the records upwards to commits and runs, and down again where everything below was asked for."""
    if thread.whole_commit:
        for commit in list(thread.commits):
            _add_versions(thread, sources.versions(data_commit=commit))
            thread.runs |= {s.record.run_id for s in sources.searches() if s.record.data_commit == commit} - {
                ""
            }
            thread.runs |= {run.run_id for run in sources.runs() if run.commit == commit}
    if thread.whole_run:
        for run_id in sorted(thread.runs):
            _add_versions(thread, sources.versions(run_id=run_id))
    for info in thread.versions:
        record = info.provenance
        thread.runs |= {record.run_id} - {""}
        if record.data_commit and not thread.commits.get(record.data_commit):
            thread.commits[record.data_commit] = record.data_repo
    for search in sources.searches():
        commit = search.record.data_commit
        if search.record.run_id in thread.runs and commit and not thread.commits.get(commit):
            thread.commits[commit] = search.record.data_repo


def _add_versions(thread: _Thread, found: list[Any]) -> None:
    known = {info.uri for info in thread.versions}
    thread.versions += [info for info in found if info.uri not in known]


def _tree(thread: _Thread, sources: Sources) -> Node:
    roots = [_commit_node(thread, sources, commit, repo) for commit, repo in thread.commits.items()]
    roots += _run_nodes(thread, sources, "")
    if len(roots) == 1:
        return roots[0]
    if thread.asked[0] == "deployment" and roots:
        return Node("deployment", thread.asked[1], children=tuple(roots), asked=True)
    if roots:
        return next((root for root in roots if _leads_to(root, thread.asked)), roots[0])
    # A deployment or a request whose model version is gone.
    deployments = _deployment_nodes(thread, sources, None)
    return deployments[0] if deployments else _node(thread, *thread.asked)


def _leads_to(node: Node, asked: tuple[str, str]) -> bool:
    return (node.kind, node.name) == asked or any(_leads_to(child, asked) for child in node.children)


def _commit_node(thread: _Thread, sources: Sources, commit: str, repo: str) -> Node:
    found = sources.commit(repo, commit) or DataCommit(repo, commit)
    details = {"branch": found.branch, "finished": found.finished, "message": found.message}
    name = f"{found.repo}@{commit}" if found.repo else commit
    return _node(thread, "data commit", name, details, _run_nodes(thread, sources, commit))


def _run_nodes(thread: _Thread, sources: Sources, commit: str) -> list[Node]:
    """Return the runs on a commit ("" for runs and versions whose commit is not known)."""
    local = {run.run_id: run for run in sources.runs()}
    searches = sources.searches()
    nodes = []
    for run_id in sorted(thread.runs, key=lambda name: (local[name].started if name in local else 0.0, name)):
        own = [s for s in searches if s.record.run_id == run_id]
        versions = [info for info in thread.versions if info.provenance.run_id == run_id]
        used = {s.record.data_commit for s in own} | {info.provenance.data_commit for info in versions}
        used |= {local[run_id].commit} if run_id in local else set()
        if commit in used - {""} or (not commit and not used - {""}):
            nodes.append(_run_node(thread, sources, run_id, local.get(run_id), own, versions, commit))
    # Versions that were made outside any run.
    loose = [
        info
        for info in thread.versions
        if not info.provenance.run_id and info.provenance.data_commit == commit
    ]
    return nodes + [_version_node(thread, sources, info) for info in loose]


def _run_node(
    thread: _Thread,
    sources: Sources,
    run_id: str,
    local: LocalRun | None,
    searches: list[Search],
    versions: list[Any],
    commit: str,
) -> Node:
    details = {}
    if local is not None:
        details = {"pipeline": local.pipeline, "state": local.state, "started": _moment(local.started)}
    children = [_search_node(thread, s) for s in searches if s.record.data_commit == commit]
    children += [
        _version_node(thread, sources, info) for info in versions if info.provenance.data_commit == commit
    ]
    return _node(thread, "run", run_id, details, children)


def _search_node(thread: _Thread, search: Search) -> Node:
    trials = [
        Node(
            "trial",
            name,
            {"objective": value, "parameters": given, "best": "yes" if name == search.best else ""},
        )
        for name, value, given in search.trials
    ]
    details = {"state": search.state, "trials": str(len(trials)), "best": search.best}
    return _node(thread, "experiment", search.name, details, trials)


def _version_node(thread: _Thread, sources: Sources, info: Any) -> Node:
    details = {
        "aliases": ", ".join(info.aliases),
        "owner": info.tags.get("owner", ""),
        "created": _moment(info.created),
        "digest": info.digest[:12],
        "mlflow run": info.run_id,
        "promoted": info.tags.get("chandlery.promoted_at", ""),
        "rolled back": info.tags.get("chandlery.rolled_back_at", ""),
        "canary": _canary(info.tags),
    }
    return _node(thread, "model version", info.uri, details, _deployment_nodes(thread, sources, info))


def _canary(tags: Mapping[str, str]) -> str:
    verdict = tags.get("chandlery.canary_verdict", "").replace("_", " ")
    return f"{verdict}: {tags.get('chandlery.canary_reason', '')}" if verdict else ""


def _deployment_nodes(thread: _Thread, sources: Sources, info: Any | None) -> list[Node]:
    """Return where a version is served; without one, where the deployment or request asked for is."""
    request = thread.request
    nodes, holds_request = [], False
    for served in sources.served():
        name = f"{served.namespace}/{served.deployment}"
        if info is not None and (served.model_name, served.version) != (info.name, info.version):
            continue
        if info is None and name != (
            f"{request.namespace}/{request.deployment}" if request else thread.asked[1]
        ):
            continue
        here = request is not None and name == f"{request.namespace}/{request.deployment}"
        holds_request = holds_request or here
        nodes.append(
            _node(
                thread, "deployment", name, _served(served), [_request(request)] if here and request else []
            )
        )
    if request is not None and not holds_request:
        name = f"{request.namespace}/{request.deployment}"
        details = {"predictor": request.predictor, "state": "no longer serves this version"}
        nodes.append(_node(thread, "deployment", name, details, [_request(request)]))
    return nodes


def _served(served: Served) -> dict[str, str]:
    traffic = "shadow" if served.shadow else f"{served.traffic} %"
    return {
        "predictor": served.predictor,
        "traffic": traffic,
        "state": served.state,
        "canary": served.canary,
    }


def _request(request: LoggedRequest) -> Node:
    details = {
        "time": _moment(request.time),
        "predictor": request.predictor,
        "rows": str(request.rows),
        "status": str(request.status),
    }
    return Node("request", request.request_id, details, asked=True)


def _node(
    thread: _Thread,
    kind: Any,
    name: str,
    details: dict[str, str] | None = None,
    children: list[Node] | None = None,
) -> Node:
    return Node(kind, name, details or {}, tuple(children or ()), asked=(kind, name) == thread.asked)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else ""
