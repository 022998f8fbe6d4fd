"""Finds a prediction in the request logs of the model servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = 1 << 22


@dataclass(frozen=True)
class LoggedRequest:
    """One prediction as its server logged it.

    Attributes:
        request_id: its identifier.
        namespace: namespace of the deployment.
        deployment: name of the deployment.
        predictor: predictor that answered.
        model_name: registered model.
        model_version: version that answered.
        time: when, seconds since the epoch.
        rows: number of rows.
        status: HTTP status answered.
    """

    request_id: str
    namespace: str
    deployment: str
    predictor: str
    model_name: str
    model_version: str
    time: float
    rows: int
    status: int


def find_request(home: Path, request_id: str) -> LoggedRequest | None:
    """Return the newest logged request of that id below `<home>/requests`, or None."""
    found = [entry for path in logs(home) for entry in _matches(path, request_id)]
    return max(found, key=lambda entry: entry.time) if found else None


def logs(home: Path) -> list[Path]:
    """Return the request logs: `<home>/requests/<namespace>/<deployment>/*.jsonl`."""
    return sorted((home / "requests").glob("*/*/*.jsonl"))


def _matches(path: Path, request_id: str) -> Iterator[LoggedRequest]:
    # A search for the bytes first: a log may hold millions of lines, and parsing them all takes minutes.
    wanted = json.dumps(request_id, ensure_ascii=False).encode()
    for line in _lines_with(path, wanted):
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a line cut short when its server was killed
        if request_id in (entry.get("request_id"), entry.get("puid")) and "status" in entry:
            yield _read(path, entry)


def _lines_with(path: Path, wanted: bytes) -> Iterator[bytes]:
    rest = b""
    with path.open("rb") as log:
        while block := log.read(BLOCK):
            lines, newline, rest = (rest + block).rpartition(b"\n")
            if newline and wanted in lines:
                yield from (line for line in lines.split(b"\n") if wanted in line)
    if wanted in rest:
        yield rest


def _read(path: Path, entry: dict[str, Any]) -> LoggedRequest:
    return LoggedRequest(
        request_id=str(entry["request_id"]),
        namespace=path.parent.parent.name,
        deployment=path.parent.name,
        predictor=str(entry.get("predictor", "")),
        model_name=str(entry.get("model_name", "")),
        model_version=str(entry.get("model_version", "")),
        time=float(entry.get("time", 0)),
        rows=int(entry.get("rows", 0)),
        status=int(entry.get("status", 0)),
    )
