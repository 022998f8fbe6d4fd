"""Memory of the sources of datasets. Without it the next commit of a source reads all of it again."""

from __future__ import annotations

from collections.abc import Iterator

from chandlery.data.remembered import folder
from chandlery.gc.candidate import Candidate, newest
from chandlery.gc.survey import Survey


def source_candidates(survey: Survey) -> Iterator[Candidate]:
    """Yield what was remembered of sources that were not committed for long."""
    for path in sorted(folder().glob("*")):
        if survey.policy.old(newest(path)):
            yield Candidate("source", path.name, "not committed for so long; it is read again then", (path,))
