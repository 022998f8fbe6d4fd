"""Results of steps: entries of the cache of pure steps, and the outputs that steps wrote.

The entries are `<home>/cache/<digest of the code>/*.json`, the outputs `<home>/artifacts/kfp/<pipeline>-<time>`. Both are
protected by the lock of the runs, which the collection holds. Outputs stay as long as an entry, a run, a deployment or a
running Experiment names them; an entry stays as long as it is used. When it was read last is the access time that the file
system keeps.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from chandlery.gc.candidate import Candidate, newest
from chandlery.gc.references import read_json, texts
from chandlery.gc.survey import Survey
from chandlery.runs.record import runs_root

_OTHERS = ("models", "sources", "environments")  # folders beside those of the code's digests


def step_candidates(survey: Survey, gone: Iterable[Candidate]) -> list[Candidate]:
    """Return the entries and outputs that may go.

    Args:
        survey: the survey of the home.
        gone: the runs that go.
    """
    if survey.running:
        return []
    entries, named = _entries(survey)
    outputs = list(_outputs(survey, named, {path for run in gone for path in run.paths}))
    return [*entries, *outputs]


def _entries(survey: Survey) -> tuple[list[Candidate], list[str]]:
    """Return the entries that may go, and every text in those that stay."""
    found: list[Candidate] = []
    named: list[str] = []
    for path in sorted((survey.home / "cache").glob("*/*")):
        if path.parent.name in _OTHERS or not path.is_file():
            continue
        name = f"{path.parent.name}/{path.name}"
        used, document = _read(path)
        if path.suffix != ".json":
            if survey.policy.old(used):
                found.append(Candidate("cache", name, "it was never finished", (path,)))
        elif not isinstance(document, dict) or not _whole(document):
            found.append(Candidate("cache", name, "what it promises is not there any more", (path,)))
        elif survey.policy.old(used):
            found.append(Candidate("cache", name, "it was not used for so long", (path,)))
        else:
            named.extend(texts(document))
    return found, named


def _outputs(survey: Survey, named: list[str], gone: set[Path]) -> Iterator[Candidate]:
    root = survey.home / "artifacts" / "kfp"
    if not root.is_dir():
        return
    mentions = survey.references.mentions()
    if mentions is None:
        survey.left.append("step outputs: the custom resources did not report which of them they use")
        return
    kept = {
        name
        for text in (*named, *mentions, *_of_runs(survey, gone))
        for part in text.split(f"{root}/")[1:]
        if (name := part.partition("/")[0])
    }
    for path in sorted(root.iterdir()):
        if path.name not in kept and path.is_dir() and survey.policy.old(newest(path)):
            yield Candidate("outputs", path.name, "no run, cached result or deployment names them", (path,))


def _of_runs(survey: Survey, gone: set[Path]) -> Iterator[str]:
    roots = [runs_root(survey.home), *([survey.artifacts / "runs"] if survey.artifacts else [])]
    for root in roots:
        for path in root.glob("*/*.json"):
            if path.parent not in gone:
                yield from texts(read_json(path))


def _read(path: Path) -> tuple[float, Any]:
    """Return when an entry was last used, and what it holds; reading it here does not count as a use."""
    status = path.stat()
    document = read_json(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return max(status.st_atime, status.st_mtime), document


def _whole(entry: dict[str, Any]) -> bool:
    """Return whether all files of an entry are still there."""
    files = entry.get("files")
    return isinstance(files, list) and all(isinstance(file, str) and os.path.exists(file) for file in files)
