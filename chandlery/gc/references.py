"""References between the systems: read once from every system before anything is judged.

A system that does not answer may need anything, so nothing that it might need is freed: its part is None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from chandlery import addresses, platform, provenance
from chandlery.errors import ChandleryError
from chandlery.resources.experiment_status import is_set
from chandlery.resources.port import EXPERIMENT, SELDON_DEPLOYMENT, TRIAL, Document

MODEL = re.compile(r"models:/([^/\s]+)/(\d+)")
_OVER = ("Succeeded", "Failed")

T = TypeVar("T")


@dataclass(frozen=True)
class References:
    """The references between the systems.

    Attributes:
        commits: `(repo, commit)` of every commit, with the run that made it or "".
        versions: the run that made each model version, "" where none is recorded.
        deployments: every SeldonDeployment.
        experiments: every Experiment.
        trials: every Trial.
        silent: systems that did not answer, with the reason.
    """

    commits: dict[tuple[str, str], str] | None
    versions: dict[tuple[str, str], str] | None
    deployments: list[Document] | None
    experiments: list[Document] | None
    trials: list[Document] | None
    silent: tuple[str, ...] = ()

    def runs(self) -> set[str] | None:
        """Return the ids of runs that something names as its origin; None when that cannot be known."""
        if self.commits is None or self.versions is None:
            return None
        if self.deployments is None or self.experiments is None:
            return None
        documents = [*self.deployments, *self.experiments]
        named = {provenance.read(d["metadata"].get("annotations") or {}).run_id for d in documents}
        return {*self.commits.values(), *self.versions.values(), *named} - {""}

    def served(self) -> set[tuple[str, str]] | None:
        """Return `(model, version)` of everything that a deployment serves; None when that cannot be known."""
        if self.deployments is None:
            return None
        return {
            (m[1], m[2])
            for document in self.deployments
            for text in texts(document)
            for m in MODEL.finditer(text)
        }

    def searching(self) -> bool:
        """Return whether an Experiment is, or may be, in progress."""
        return self.experiments is None or any(not _is_over(document) for document in self.experiments)

    def mentions(self) -> Iterator[str] | None:
        """Yield every text in what serves or searches now; None when that cannot be known."""
        if self.deployments is None or self.experiments is None:
            return None
        active = [d for d in self.experiments if not _is_over(d)]
        return texts([*self.deployments, *active])


def read_references() -> References:
    """Ask every system."""
    silent: list[str] = []

    def ask(what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except ChandleryError as error:
            silent.append(f"{what} did not report what it still needs: {error.message}")
            return None

    commits = ask("versioned data", _commits)
    versions = ask("MLflow", _versions)
    documents = ask("the custom resources", _documents)
    deployments, experiments, trials = documents or (None, None, None)
    return References(commits, versions, deployments, experiments, trials, tuple(silent))


def texts(document: Any) -> Iterator[str]:
    """Yield every text in a JSON document, names of fields included."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for name, value in document.items():
            yield str(name)
            yield from texts(value)
    elif isinstance(document, list | tuple):
        for value in document:
            yield from texts(value)


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; None when it is not there or not readable."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _commits() -> dict[tuple[str, str], str]:
    from chandlery.data.client import connect
    from chandlery.data.errors import translated
    from chandlery.data.references import repo_message, repos

    found: dict[tuple[str, str], str] = {}
    if _never_used(addresses.endpoints().data):
        return found
    with connect() as client:
        for repo in repos(client):
            with translated(f"list commits of {repo}"):
                for info in client.pfs.list_commit(repo=repo_message(repo)):
                    run = provenance.read_description(info.description).run_id
                    found[repo, info.commit.id] = run
    return found


def _versions() -> dict[tuple[str, str], str]:
    from chandlery.addresses import MLFLOW_FOLDER
    from chandlery.registry.versions import find

    points = addresses.endpoints()
    if not points.mlflow and not (points.home / MLFLOW_FOLDER).exists():
        return {}  # this home has never had a registry
    return {(info.name, info.version): info.provenance.run_id for info in find({}, incomplete=True)}


def _documents() -> tuple[list[Document], list[Document], list[Document]]:
    if _never_used(addresses.endpoints().resources):
        return [], [], []
    store = platform.open_resources()
    try:
        deployments, experiments, trials = (
            store.list(kind, "") for kind in (SELDON_DEPLOYMENT, EXPERIMENT, TRIAL)
        )
        return deployments, experiments, trials
    finally:
        store.close()


def _is_over(experiment: Document) -> bool:
    return is_set(experiment, *_OVER)


def _never_used(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "embedded" and not Path(parts.path).is_dir()
