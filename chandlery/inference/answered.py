"""Which requests a deployment has answered, and what: feedback counts for such an answer alone, and once.

A replica remembers its own answers. Those of the other replicas and predictors, and of servers that have ended, it reads
from the request log, which they share: only what was appended since the last look, and only when an id is not known.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from chandlery.inference.layout import records_of

REMEMBERED = 50_000  # answers kept in memory
SECONDS = 7 * 24 * 3600.0  # for which an answer takes feedback
READ_BYTES = 32 * 2**20  # of each file of the log, at most, from its end
MOST_VALUES = 64  # predictions of one request that are kept
LOOKS, APART = 5, 0.3  # other replicas write their log within a second


@dataclass(slots=True)
class Answer:
    """One answered request.

    Attributes:
        predictor: name of the predictor that answered.
        time: when, seconds since the epoch.
        prediction: the first answer column's value of each row, or all columns by name of each row of a recipe with
            several targets; None where the request had too many rows to keep them.
        judged: feedback has been counted.
    """

    predictor: str
    time: float
    prediction: list[Any] | None
    judged: bool = False


class Answered:
    """The answers of a deployment that may still get feedback.

    Args:
        folder: folder of the request log; None: nothing is known of other servers.
        predictor: the predictor of this server.
        own: this server's own file in the log, which need not be read.
    """

    def __init__(self, folder: Path | None, predictor: str, own: Path | None) -> None:
        self._folder = folder
        self._predictor = predictor
        self._own = own
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._read: dict[int, int] = {}  # inode of a file: bytes read
        self._lock = asyncio.Lock()
        self._looked = 0.0

    def add(self, request_id: str, prediction: list[Any] | None) -> None:
        """Remember an answer of this server."""
        self._keep(request_id, Answer(self._predictor, time.time(), prediction))

    async def find(self, request_id: str) -> Answer | None:
        """Return the answer with an id; None when there is none, or it is too old for feedback."""
        found = self._answers.get(request_id)
        # An answer of our own too: another server may have counted feedback on it.
        unsure = found is None or not found.judged
        for look in range(LOOKS if unsure and self._folder is not None else 0):
            if look:
                await asyncio.sleep(APART)
            async with self._lock:
                # Many at once share one look.
                if time.monotonic() - self._looked >= APART / 2:
                    await asyncio.to_thread(self._catch_up)
                    self._looked = time.monotonic()
            found = self._answers.get(request_id)
            if found is not None:
                break
        return found if found is not None and time.time() - found.time < SECONDS else None

    def _keep(self, request_id: str, answer: Answer) -> None:
        self._answers[request_id] = answer
        self._answers.move_to_end(request_id)
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)

    def _catch_up(self) -> None:
        assert self._folder is not None
        try:
            paths = sorted(self._folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime)
        except OSError:
            return
        for path in paths:
            if path != self._own:
                try:
                    self._read_file(path)
                except OSError:
                    continue  # rotated away meanwhile

    def _read_file(self, path: Path) -> None:
        found = path.stat()
        if time.time() - found.st_mtime > SECONDS:
            return
        # The inode alone: a file that is rotated gets another name.
        key = found.st_ino
        start = self._read.get(key, max(0, found.st_size - READ_BYTES))
        if found.st_size <= start:
            return
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._read[key] = start + whole
        for line in data[:whole].splitlines():
            try:
                self._line(orjson.loads(line))
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                continue  # the first line may be torn

    def _line(self, line: dict[str, Any]) -> None:
        ids = [line["request_id"], *([line["puid"]] if "puid" in line else [])]
        for request_id in ids:
            if line.get("judged"):
                known = self._answers.get(request_id)
                if known is not None:
                    known.judged = True
            elif line["status"] == 200 and request_id not in self._answers:
                self._keep(
                    request_id, Answer(str(line["predictor"]), float(line["time"]), line.get("prediction"))
                )


def prediction_of(answers: Any, several: bool) -> list[Any] | None:
    """Return what is kept of an answer: see `Answer.prediction`."""
    columns = list(answers.items()) if several else list(answers.items())[:1]
    if not columns or sum(values.size for _, values in columns) > MOST_VALUES:
        return None
    if not several:
        listed: list[Any] = columns[0][1].tolist()
        return listed
    return records_of(answers)
