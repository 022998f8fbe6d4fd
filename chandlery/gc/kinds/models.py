"""Model packages that were downloaded from the registry. Each can be fetched again; a process that uses one holds its mark."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chandlery.gc.candidate import Candidate, newest
from chandlery.gc.survey import Survey
from chandlery.processes import marks
from chandlery.registry.download import cache_folder

_PACKAGE = re.compile(r"(?P<version>\d+)-[0-9a-f]{1,16}")
_INCOMING = re.compile(r"\.(?P<package>\d+-[0-9a-f]{1,16})\.(?!use$).+")


def model_candidates(survey: Survey) -> Iterator[Candidate]:
    """Yield the downloaded packages that nothing serves and that were not used for long."""
    root = cache_folder()
    if not root.is_dir():
        return
    served = survey.references.served()
    if served is None:
        survey.left.append("downloaded models: the custom resources did not report which are served")
        return
    for folder in sorted(root.glob("*/*")):
        model = folder.parent.name
        if match := _PACKAGE.fullmatch(folder.name):
            used = max(marks.last_used(folder), folder.stat().st_mtime)
            if (model, match["version"]) not in served and survey.policy.old(used):
                paths = (folder, marks.mark_of(folder))
                reason = "not served and not used for so long; it can be fetched again"
                yield Candidate("model", f"{model}/{folder.name}", reason, paths, leased=folder)
        elif (match := _INCOMING.fullmatch(folder.name)) and survey.policy.long_idle(newest(folder)):
            yield Candidate(
                "model",
                f"{model}/{folder.name}",
                "it was never finished",
                (folder,),
                leased=folder.with_name(match["package"]),
            )
