"""Walks along provenance, for commits and branches alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from chandlery.embedded.pachd.store.tables import Branch, Commit, Connection

Row = TypeVar("Row", Branch, Commit)


def nearest_first(
    db: Connection,
    starts: Iterable[Row],
    step: Callable[[Connection, Row], list[Row]],
    max_depth: int = 0,
    max_rows: int = 0,
) -> Iterator[Row]:
    """Yield the rows that are reached from each start, without the start: each row once, the nearest first.

    Args:
        db: a connection within a transaction.
        starts: the rows to start from. They are read one by one, each when the walk from the row before has ended.
        step: returns the neighbours of a row, such as `tables.sources`.
        max_depth: the number of steps from a start; 0 for any number.
        max_rows: the number of rows from a start; the walk ends where a start has more. 0 for any number.
    """
    for start in starts:
        seen: set[Row] = set()
        level, depth = [start], 0
        while level and (not max_depth or depth < max_depth):
            depth += 1
            neighbours = [each for row in level for each in step(db, row)]
            level = [each for each in dict.fromkeys(neighbours) if each not in seen]
            for each in level:
                if max_rows and len(seen) >= max_rows:
                    return
                seen.add(each)
                yield each
