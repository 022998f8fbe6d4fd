"""Logs of the servers and of the requests of deployments that are gone."""

from __future__ import annotations

from collections.abc import Iterator

from chandlery.gc.candidate import Candidate, newest
from chandlery.gc.references import read_json
from chandlery.gc.survey import Survey


def server_candidates(survey: Survey) -> Iterator[Candidate]:
    """Yield the logs of deployments that are gone and have no server left."""
    roots = {"server logs": survey.home / "logs" / "servers", "requests": survey.home / "requests"}
    folders = [(kind, folder) for kind, root in roots.items() for folder in sorted(root.glob("*/*/"))]
    if not folders:
        return
    if survey.references.deployments is None:
        survey.left.append(
            "logs of deployments: the custom resources did not report which deployments there are"
        )
        return
    alive = {(d["metadata"]["namespace"], d["metadata"]["name"]) for d in survey.references.deployments}
    for path in (survey.home / "deployments" / "servers").glob("*.json"):
        record = read_json(path)
        if isinstance(record, dict):
            alive.add((str(record.get("namespace")), str(record.get("deployment"))))
    for kind, folder in folders:
        owner = (folder.parent.name, folder.name)
        if owner not in alive and survey.policy.long_idle(newest(folder)):
            yield Candidate(kind, "/".join(owner), "its deployment is gone", (folder,))
