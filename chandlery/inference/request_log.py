"""The request log: one JSON line a prediction, so that a request id leads to the model version that answered it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import orjson

from chandlery.progress import report

FLUSH_SECONDS = 0.1
ROTATE_BYTES = 64 * 1024 * 1024
KEPT = 3  # rotated files kept beside the current one


class RequestLog:
    """Lines of `<folder>/<predictor>-<pid>.jsonl`, gathered in memory and written half a second later.

    Args:
        folder: where the files go; None: nothing is logged.
        predictor: first part of the file name.
        fields: further fields of every line.
        rotate_bytes: size at which a file is set aside as `.1`, `.2`, ...; the oldest is dropped.
    """

    def __init__(
        self,
        folder: Path | None,
        predictor: str,
        fields: dict[str, str],
        rotate_bytes: int = ROTATE_BYTES,
    ) -> None:
        self.path = folder / f"{predictor or 'predictor'}-{os.getpid()}.jsonl" if folder else None
        self._fields = fields
        self._rotate_bytes = rotate_bytes
        self._lines: list[bytes] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._failed = False

    def add(
        self,
        request_id: str,
        rows: int,
        status: int,
        *,
        puid: str = "",
        prediction: bytes | None = None,
    ) -> None:
        """Log a prediction.

        Args:
            request_id: the caller's or our identifier.
            rows: number of rows; 0 when the request was refused before they were known.
            status: HTTP status answered.
            puid: the identifier in the answer, where the caller chose another one in its message.
            prediction: the predictions as JSON, for feedback that names the request alone; None: not kept.
        """
        if self.path is not None:
            line = {
                "request_id": request_id,
                "time": time.time(),
                **self._fields,
                "rows": rows,
                "status": status,
            }
            if puid and puid != request_id:
                line["puid"] = puid
            if prediction is not None:
                line["prediction"] = orjson.Fragment(prediction)
            self._append(line)

    def judged(self, request_id: str) -> None:
        """Log that feedback on an answer has been counted."""
        if self.path is not None:
            self._append({"request_id": request_id, "time": time.time(), **self._fields, "judged": True})

    def _append(self, line: dict[str, Any]) -> None:
        # At once: thousands of lines a time would hold the interpreter, and thousands of objects keep the collector busy.
        self._lines.append(orjson.dumps(line))
        if self._loop is not None and self._task is None:
            self._task = self._loop.create_task(self._soon())

    def start(self) -> None:
        """Begin to write; call inside the running event loop."""
        self._loop = asyncio.get_running_loop()
        if self._lines:
            self._task = self._loop.create_task(self._soon())

    async def stop(self) -> None:
        """Write what is left."""
        self._loop = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.flush()

    def flush(self) -> None:
        """Write the lines gathered so far; a full disk costs log lines, not answers."""
        lines, self._lines = self._lines, []
        if self.path is None or not lines:
            return
        try:
            self._write(self.path, b"\n".join([*lines, b""]))
        except OSError as error:
            if not self._failed:
                report("request_log.failed", f"request log {self.path}: {error}")
            self._failed = True

    async def _soon(self) -> None:
        # Only while there is something to write: a server at rest does not wake up.
        while self._lines:
            await asyncio.sleep(FLUSH_SECONDS)
            await asyncio.to_thread(self.flush)
        self._task = None

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size + len(data) > self._rotate_bytes:
            for number in range(KEPT, 0, -1):
                older = path.with_suffix(f".{number}.jsonl")
                newer = path.with_suffix(f".{number - 1}.jsonl") if number > 1 else path
                if newer.exists():
                    os.replace(newer, older)
        with path.open("ab") as out:
            out.write(data)
