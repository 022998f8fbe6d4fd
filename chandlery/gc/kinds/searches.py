"""Files of trials that no Trial has any more: `<home>/experiments/<namespace>/<experiment>/<trial>`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from chandlery.files import is_locked
from chandlery.gc.candidate import Candidate, newest
from chandlery.gc.look import Look
from chandlery.gc.references import read_json


def trial_candidates(look: Look) -> Iterator[Candidate]:
    """Yield the folders of trials that were deleted; a trial that still runs holds the lock in its folder."""
    folders = sorted((look.home / "experiments").glob("*/*/*/"))
    if not folders:
        return
    if look.references.trials is None:
        look.left.append("files of trials: the custom resources do not say which trials there are")
        return
    alive = {trial["metadata"]["uid"] for trial in look.references.trials}
    for folder in folders:
        uid = _uid(folder)
        if uid not in alive and look.policy.long_idle(newest(folder)) and not is_locked(folder / "lock"):
            name = str(folder.relative_to(look.home / "experiments"))
            yield Candidate(
                "trial",
                name,
                "its Trial is no more",
                (folder,),
                may_go=partial(
                    lambda folder, uid: _uid(folder) == uid and not is_locked(folder / "lock"), folder, uid
                ),
            )


def _uid(folder: Path) -> str:
    return str((read_json(folder / "run.json") or {}).get("uid", ""))
