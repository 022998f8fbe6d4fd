"""Checkpoints of trainings that were killed and never carried on: `<artifacts>/checkpoints/<key>`."""

from __future__ import annotations

from collections.abc import Iterator

from chandlery.gc.candidate import Candidate, newest
from chandlery.gc.survey import Survey


def checkpoint_candidates(survey: Survey) -> Iterator[Candidate]:
    """Yield the checkpoints that were not written for long; a training that ends removes its own."""
    if survey.ours is None or survey.running:
        return
    folders = sorted((survey.ours / "checkpoints").glob("*/"))
    if folders and survey.references.searching():
        survey.left.append("checkpoints: a search is in progress")
        return
    for folder in folders:
        if survey.policy.long_idle(newest(folder)):
            yield Candidate("checkpoint", folder.name, "its training was not carried on", (folder,))
