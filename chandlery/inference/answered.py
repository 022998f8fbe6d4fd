"""Which requests a deployment has answered, and what: feedback counts for such an answer alone, and once.

A replica remembers its own answers. Those of the other replicas and predictors, and of servers that have ended, it reads
from the request log, which they share: only what was appended since the last look, and only when an id is not known.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from chandlery.inference.layout import records_of

REMEMBERED = 50_000  # answers kept in memory at least; twice as many at most
SECONDS = 7 * 24 * 3600.0  # for which an answer takes feedback
READ_BYTES = 32 * 2**20  # of each file of the log, at most, from its end
MOST_VALUES = 64  # predictions of one request that are kept
LOOKS, APART = 5, 0.3  # other replicas write their log within a second


@dataclass(frozen=True, slots=True)
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
        # The collector of garbage leaves a dictionary of bytes alone, however large it is; it would walk through one of
        # objects twice a second. Two of them, of which the older one is dropped as a whole, need no order of their own.
        self._newer: dict[str, bytes] = {}
        self._older: dict[str, bytes] = {}
        self._read: dict[int, int] = {}  # inode of a file: bytes read
        self._lock = asyncio.Lock()
        self._looked = 0.0

    def add(self, request_id: str, prediction: bytes | None) -> None:
        """Remember an answer of this server, its prediction as `prediction_of` gives it."""
        self._keep(request_id, self._predictor, time.time(), prediction)

    def judge(self, request_id: str) -> None:
        """Note that feedback on an answer has been counted."""
        for answers in (self._newer, self._older):
            if request_id in answers:
                answers[request_id] = orjson.dumps([*orjson.loads(answers[request_id])[:3], True])

    async def find(self, request_id: str) -> Answer | None:
        """Return the answer with an id; None when there is none, or it is too old for feedback."""
        found = self._known(request_id)
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
            found = self._known(request_id)
            if found is not None:
                break
        return found if found is not None and time.time() - found.time < SECONDS else None

    def _known(self, request_id: str) -> Answer | None:
        packed = self._newer.get(request_id) or self._older.get(request_id)
        return None if packed is None else Answer(*orjson.loads(packed))

    def _keep(self, request_id: str, predictor: str, when: float, prediction: bytes | None) -> None:
        listed = None if prediction is None else orjson.Fragment(prediction)
        self._newer[request_id] = orjson.dumps([predictor, when, listed, False])
        if len(self._newer) >= REMEMBERED:
            self._older, self._newer = self._newer, {}

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
                self.judge(request_id)
            elif line["status"] == 200 and self._known(request_id) is None:
                listed = line.get("prediction")
                prediction = None if listed is None else orjson.dumps(listed)
                self._keep(request_id, str(line["predictor"]), float(line["time"]), prediction)


def prediction_of(answers: Any, several: bool) -> bytes | None:
    """Return what is kept of an answer as JSON: see `Answer.prediction`."""
    columns = list(answers.items()) if several else list(answers.items())[:1]
    if not columns or sum(values.size for _, values in columns) > MOST_VALUES:
        return None
    if not several:
        return orjson.dumps(columns[0][1].tolist(), default=str)
    return orjson.dumps(records_of(answers), default=str)
