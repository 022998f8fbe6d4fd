"""Checkpoints of trainings that were killed and never carried on: `<artifacts>/checkpoints/<key>`."""

from __future__ import annotations

from collections.abc import Iterator

from chandlery.gc.candidate import Candidate, newest
from chandlery.gc.look import Look


def checkpoint_candidates(look: Look) -> Iterator[Candidate]:
    """Yield the checkpoints that nobody wrote for long; a training that ends removes its own."""
    if look.ours is None or look.running:
        return
    folders = sorted((look.ours / "checkpoints").glob("*/"))
    if folders and look.references.searching():
        look.left.append("checkpoints: a search is in progress")
        return
    for folder in folders:
        if look.policy.long_idle(newest(folder)):
            yield Candidate("checkpoint", folder.name, "its training was not carried on", (folder,))
