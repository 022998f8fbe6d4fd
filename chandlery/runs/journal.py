"""Notes of a run: one small document and at most a few HTML pages a step, under the artifact root.

A step of any platform writes its note at `<artifacts>/runs/<run id>/<task>.json`; the exit handler reads them all.
Writing a note again replaces it, so a retried step leaves one.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chandlery.addresses import endpoints
from chandlery.errors import UserError
from chandlery.files import write_text
from chandlery.provenance import RUN_VARIABLE, TASK_VARIABLE
from chandlery.runs.facts import RunFacts


@dataclass(frozen=True)
class Note:
    """Note of one step in the record of its run.

    Attributes:
        task: task name.
        time: when it was written, seconds since the epoch.
        facts: what the step found.
        reports: HTML pages by title, paths.
    """

    task: str
    time: float
    facts: RunFacts = field(default_factory=RunFacts)
    reports: dict[str, str] = field(default_factory=dict)


def run_folder(run_id: str) -> Path:
    """Return the folder of a run's record, which may not exist yet.

    Raises:
        UserError: the artifact root is not a folder of this machine (mount the bucket to read it as one).
    """
    root = endpoints().artifacts
    if "://" in root:
        raise UserError(
            f"CHANDLERY_ARTIFACTS={root}: a run's record needs a folder",
            "mount the bucket (gcsfuse, mountpoint-s3) and give the mounted path",
        )
    return Path(root) / "runs" / run_id


def note(facts: RunFacts, reports: Mapping[str, str | Path] | None = None, *, task: str = "") -> None:
    """Write the note of the running step; outside a run (no `CHANDLERY_RUN_ID`) nothing happens.

    Args:
        facts: what the step found.
        reports: HTML pages by title; they are copied.
        task: task name; default: `CHANDLERY_TASK`.
    """
    run_id = os.environ.get(RUN_VARIABLE, "")
    task = task or os.environ.get(TASK_VARIABLE, "")
    if not run_id or not task:
        return
    folder = run_folder(run_id)
    folder.mkdir(parents=True, exist_ok=True)
    copies: dict[str, str] = {}
    for index, (title, path) in enumerate((reports or {}).items()):
        copy = folder / f"{task}-{index}.html"
        partial = copy.with_suffix(f".partial-{os.getpid()}")
        shutil.copyfile(path, partial)
        os.replace(partial, copy)
        copies[title] = str(copy)
    document = {"task": task, "time": time.time(), "values": facts.known(), "reports": copies}
    write_text(folder / f"{task}.json", json.dumps(document, indent=2, default=str))


def read_notes(run_id: str) -> list[Note]:
    """Return the notes of a run in the order in which they were written; none for an unknown run.

    A file that is not a note is left out.
    """
    found = [_read(path) for path in sorted(run_folder(run_id).glob("*.json"))]
    return sorted((note for note in found if note is not None), key=lambda note: note.time)


def _read(path: Path) -> Note | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Note(
            task=str(document["task"]),
            time=float(document["time"]),
            facts=RunFacts.of(document["values"]),
            reports=document["reports"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
