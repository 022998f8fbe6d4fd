"""The writer of an open commit, and whether it is gone.

A killed writer leaves its commit open, and Pachyderm allows one open commit per branch: without care the branch
would be stuck. Every commit is started with a description that names its writer and the writer's deadline;
`abandoned` reads both.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from chandlery import processes, provenance
from chandlery.processes import ProcessId
from chandlery.provenance import Provenance

if TYPE_CHECKING:
    from pachyderm_sdk.api import pfs

_GRACE = 60.0  # seconds that clocks of two machines may differ, and a discard may take


def opening(record: Provenance, message: str, timeout: float) -> str:
    """Return the description for a commit that is about to be written.

    Args:
        record: provenance of the data.
        message: what a person wants to say about it.
        timeout: seconds after which the writer gives up by itself.
    """
    own = processes.identify(os.getpid())
    writer = {
        "host": socket.gethostname(),
        "pid": own.pid,
        "born": own.started,
        "ticks": own.ticks,
        "boot": own.boot,
        "until": round(time.time() + timeout, 3),
    }
    return describe(record, message, writer=writer)


def describe(record: Provenance, message: str, **fields: object) -> str:
    """Return a commit description: the provenance record, the message and further fields, one line of JSON."""
    values: dict[str, Any] = json.loads(record.description())
    values.update({"message": message} if message else {})
    return json.dumps(values | fields, sort_keys=True)


def fields(description: str) -> dict[str, Any]:
    """Return the fields of a description that `describe` wrote; empty for another."""
    try:
        values = json.loads(description)
    except json.JSONDecodeError:
        return {}
    return values if isinstance(values, dict) and "chandlery" in values else {}


def same_step(description: str) -> bool:
    """Return whether a commit was written by this very step: the same run and task, perhaps before a kill."""
    theirs, ours = provenance.read_description(description), provenance.current()
    return bool(ours.run_id) and (theirs.run_id, theirs.task) == (ours.run_id, ours.task)


def abandoned(info: pfs.CommitInfo) -> bool:
    """Return whether an open commit has a known writer that is gone.

    It is when the writer's process is dead (same machine), when this step is the retry of the one that wrote it
    (other machine), or when the time that the writer gave itself is over.
    """
    writer = fields(info.description).get("writer")
    if not isinstance(writer, dict):
        return False
    if time.time() > float(writer.get("until", 0)) + _GRACE:
        return True
    if writer.get("host") == socket.gethostname():
        return not processes.is_running(
            ProcessId(
                int(writer.get("pid", 0)),
                float(writer.get("born", 0)),
                int(writer.get("ticks", 0)),
                str(writer.get("boot", "")),
            )
        )
    return same_step(info.description)
