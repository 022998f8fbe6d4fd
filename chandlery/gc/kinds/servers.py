"""What deployments leave when they are no more: logs of their servers, and logs of their requests."""

from __future__ import annotations

from collections.abc import Iterator

from chandlery.gc.candidate import Candidate, newest
from chandlery.gc.look import Look
from chandlery.gc.references import read_json


def server_candidates(look: Look) -> Iterator[Candidate]:
    """Yield the logs of deployments that are no more and have no server left."""
    roots = {"server logs": look.home / "logs" / "servers", "requests": look.home / "requests"}
    folders = [(kind, folder) for kind, root in roots.items() for folder in sorted(root.glob("*/*/"))]
    if not folders:
        return
    if look.references.deployments is None:
        look.left.append("logs of deployments: the custom resources do not say which there are")
        return
    alive = {(d["metadata"]["namespace"], d["metadata"]["name"]) for d in look.references.deployments}
    for path in (look.home / "deployments" / "servers").glob("*.json"):
        record = read_json(path)
        if isinstance(record, dict):
            alive.add((str(record.get("namespace")), str(record.get("deployment"))))
    for kind, folder in folders:
        owner = (folder.parent.name, folder.name)
        if owner not in alive and look.policy.long_idle(newest(folder)):
            yield Candidate(kind, "/".join(owner), "its deployment is no more", (folder,))
