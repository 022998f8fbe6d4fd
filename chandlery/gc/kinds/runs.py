"""Runs of this machine: `<home>/runs/<run id>` and their notes `<artifacts>/runs/<run id>`.

Protected by the lock of the runs, which the collection holds. A run stays that a commit, a model version, a deployment
or an Experiment names as its origin: lineage reads its record.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chandlery.gc.candidate import Candidate, newest
from chandlery.gc.survey import Survey
from chandlery.runs.record import all_runs, runs_root


def run_candidates(survey: Survey) -> list[Candidate]:
    """Return the runs that may go."""
    folders = _folders(runs_root(survey.home))
    notes = _folders(survey.artifacts / "runs") if survey.artifacts else {}
    if not folders and not notes:
        return []
    if survey.running:
        survey.left.append("runs, step outputs, cached results and checkpoints: a run is in progress")
        return []
    named = survey.references.runs()
    if named is None:
        survey.left.append("runs: a system did not report which run made its contents")
        return []
    records = all_runs(survey.home)
    kept = {record.run_id for record in records[: survey.policy.keep_runs]} | named
    # Notes without a run are ours only where no other home can have written them.
    ids = folders.keys() | (notes.keys() if survey.ours else set())
    return list(_candidates(survey, sorted(ids - kept), folders, notes))


def _candidates(
    survey: Survey, ids: list[str], folders: dict[str, Path], notes: dict[str, Path]
) -> Iterator[Candidate]:
    for run_id in ids:
        # The record goes last: while it is there, a run that is half gone is found again.
        paths = tuple(found[run_id] for found in (notes, folders) if run_id in found)
        used = max(newest(path) for path in paths)
        if survey.policy.old(used):
            yield Candidate("run", run_id, "it ended, and nothing names it as its origin", paths)


def _folders(root: Path) -> dict[str, Path]:
    if not root.is_dir():
        return {}
    return {path.name: path for path in root.iterdir() if path.is_dir() and not path.is_symlink()}
