"""A thing that may go, and what its going frees."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """One thing that may go.

    Attributes:
        kind: what it is, for a person: `run`, `checkout`, ...
        name: which one.
        reason: why it may go.
        paths: files and folders, in the order in which they go; what makes the thing known goes last, so that one that
            is half gone is found again.
        bytes: what its going frees.
        leased: the thing whose mark must be free (`chandlery.processes.marks`); None when another lock protects it.
        may_go: asked once more just before it goes.
        collect: frees it when it is not a matter of files; returns whether it did.
    """

    kind: str
    name: str
    reason: str
    paths: tuple[Path, ...] = ()
    bytes: int = 0
    leased: Path | None = None
    may_go: Callable[[], bool] | None = None
    collect: Callable[[], bool] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"kind": self.kind, "name": self.name, "bytes": self.bytes, "reason": self.reason}


def measured(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Yield the candidates with what each frees when they go in this order.

    A file with several names (checkouts are shared by hard links) counts for the candidate that holds the last of them.
    """
    names: dict[tuple[int, int], int] = {}
    for candidate in candidates:
        if not candidate.paths:
            yield candidate
            continue
        freed = 0
        for status in files_of(candidate.paths):
            key = (status.st_dev, status.st_ino)
            names[key] = names.get(key, 0) + 1
            if names[key] == status.st_nlink:
                freed += status.st_size
        yield replace(candidate, bytes=freed)


def files_of(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    """Yield the status of every file at or below the paths; paths that disappear are left out."""
    for path in paths:
        for folder, _, files in os.walk(path):
            for name in files:
                yield from _status(os.path.join(folder, name))
        if not path.is_dir() or path.is_symlink():
            yield from _status(path)


def newest(path: Path) -> float:
    """Return the latest modification of a folder or of anything in it, seconds since the epoch; 0 when it is gone."""
    times = [status.st_mtime for status in _status(path)]
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            times += [status.st_mtime for status in _status(os.path.join(folder, name))]
    return max(times, default=0.0)


def _status(path: str | Path) -> list[os.stat_result]:
    try:
        return [os.lstat(path)]
    except OSError:
        return []
