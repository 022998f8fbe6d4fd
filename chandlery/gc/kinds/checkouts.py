"""Checkouts of commits. Each can be made again while its commit exists; a process that uses one holds its mark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from chandlery.data.checkouts import cache_folder
from chandlery.gc.candidate import Candidate, newest
from chandlery.gc.survey import Survey
from chandlery.processes import marks

_KEY = re.compile(r"(?P<commit>[0-9a-f]{32})(-[0-9a-f]{12})?")
_PARTIAL = re.compile(r"\.(?P<key>[0-9a-f]{32}(-[0-9a-f]{12})?)(\.json)?\.partial-.*")


def checkout_candidates(survey: Survey) -> Iterator[Candidate]:
    """Yield the checkouts that were not used for long, and what killed checkouts left."""
    root = cache_folder()
    commits = survey.references.commits
    # A repo is one folder deep, or two with its project.
    for description in sorted([*root.glob("*/*.json"), *root.glob("*/*/*.json")]):
        folder = description.with_suffix("")
        match = _KEY.fullmatch(folder.name)
        used = max(marks.last_used(folder), _modified(description))
        if not match or not survey.policy.old(used):
            continue
        repo = str(folder.parent.relative_to(root))
        exists = commits is None or (repo, match["commit"]) in commits
        reason = "not used for so long; it can be made again" if exists else "its commit is gone"
        # The mark goes last, under its own lock: the folder is what makes the rest known.
        paths = (folder, description, marks.mark_of(folder))
        yield Candidate("checkout", f"{repo}@{folder.name}", reason, paths, leased=folder)
    for partial in sorted([*root.glob("*/.*.partial-*"), *root.glob("*/*/.*.partial-*")]):
        match = _PARTIAL.fullmatch(partial.name)
        if match and survey.policy.old(newest(partial)):
            name = str(partial.relative_to(root))
            yield Candidate(
                "checkout", name, "it was never finished", (partial,), leased=partial.with_name(match["key"])
            )


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
