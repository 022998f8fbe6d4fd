"""Files of trials that no Trial has any more: `<home>/experiments/<namespace>/<experiment>/<trial>`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from chandlery.gc.candidate import Candidate, newest
from chandlery.gc.references import read_json
from chandlery.gc.survey import Survey
from chandlery.processes.locks import is_locked


def trial_candidates(survey: Survey) -> Iterator[Candidate]:
    """Yield the folders of trials that were deleted; a trial that still runs holds the lock in its folder."""
    folders = sorted((survey.home / "experiments").glob("*/*/*/"))
    if not folders:
        return
    if survey.references.trials is None:
        survey.left.append("files of trials: the custom resources did not report which trials there are")
        return
    alive = {trial["metadata"]["uid"] for trial in survey.references.trials}
    for folder in folders:
        uid = _uid(folder)
        if uid not in alive and survey.policy.long_idle(newest(folder)) and not is_locked(folder / "lock"):
            name = str(folder.relative_to(survey.home / "experiments"))
            yield Candidate(
                "trial",
                name,
                "its Trial is gone",
                (folder,),
                may_go=partial(
                    lambda folder, uid: _uid(folder) == uid and not is_locked(folder / "lock"), folder, uid
                ),
            )


def _uid(folder: Path) -> str:
    return str((read_json(folder / "run.json") or {}).get("uid", ""))
