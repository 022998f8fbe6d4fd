"""Chunks of the embedded versioned data that no commit refers to; protected by the lock of the chunks."""

from __future__ import annotations

from collections.abc import Iterator

from chandlery import platform
from chandlery.gc.candidate import Candidate


def chunk_candidates() -> Iterator[Candidate]:
    """Yield the unwanted chunks as one candidate; most are freed by the call that made them so."""
    store = platform.open_garbage()
    if store is None:
        return
    try:
        count, size = store.garbage()
    finally:
        store.close()
    if count:
        yield Candidate("chunks", str(count), "no commit refers to them", bytes=size, collect=_collect)


def _collect() -> bool:
    store = platform.open_garbage()
    if store is None:
        return False
    try:
        return store.collect() > 0
    finally:
        store.close()
