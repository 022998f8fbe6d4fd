"""Requests to a deployment for as long as a round lasts: who does not stand between caller and server is not missed."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

import httpx

BODY = {"jsonData": {"x": [1]}}


class Traffic:
    """Asks again and again from a thread of its own; use as `with Traffic(url) as traffic`."""

    def __init__(self, url: str, pause: float = 0.05) -> None:
        self._url = url
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answers: Counter[str] = Counter()

    @property
    def failed(self) -> dict[str, int]:
        """Failures, by what was wrong."""
        return {what: count for what, count in self.answers.items() if what != "200"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(70)

    def _run(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(self._url, json=BODY)
                    self.answers["200" if answer.status_code == 200 else _said(answer)] += 1
                except httpx.HTTPError as error:
                    self.answers[type(error).__name__] += 1
                time.sleep(self._pause)


def _said(answer: httpx.Response) -> str:
    """Return status and body: the gateway names in it what it lacked."""
    return f"{answer.status_code} {answer.text[:300]}"
