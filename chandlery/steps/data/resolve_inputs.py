"""The body of `resolve_inputs`."""

from __future__ import annotations

from chandlery.data.client import connect
from chandlery.data.references import resolve
from chandlery.lean import load_pachyderm
from chandlery.progress import report


def resolve_inputs(repo: str, ref: str, model_name: str, timeout_seconds: int) -> tuple[str, str]:
    """Pin what a run depends on: the commit behind a reference, the version behind the alias `champion`.

    Returns:
        commit id; version of the champion, empty when there is none or no model was named.
    """
    load_pachyderm()
    with connect() as client:
        pinned = resolve(client, repo, ref, float(timeout_seconds))
    version = ""
    if model_name:
        from chandlery.registry import champion

        version = champion(model_name)
    report(
        "data.resolve",
        f"{repo}@{ref} is {pinned.commit}; champion of {model_name or '-'}: {version or 'none'}",
    )
    return pinned.commit, version
