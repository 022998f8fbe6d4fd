"""Prometheus metrics under the names that Seldon's executor and wrapper use, so that its dashboards work on ours."""

from __future__ import annotations

import os
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from chandlery.inference.settings import Settings
from chandlery.inference.workers import SHARED_VARIABLE
from chandlery.resources.counters import FEEDBACK, REQUESTS

# Seldon's, and three below its first: a traced model answers in less than 5 ms.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

REASONS = ("slow", "large", "malformed", "pipelined", "memory", "connections")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one replica.

    Args:
        settings: where the labels come from.
        model_version: version of the model served.
        queue: returns the number of waiting requests.
    """

    def __init__(self, settings: Settings, model_version: str, queue: Callable[[], int]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        image, _, tag = settings.image.rpartition(":")
        own = {
            "deployment_name": settings.deployment,
            "predictor_name": settings.predictor,
            "predictor_version": settings.predictor_version,
            "model_name": settings.unit,
            "model_version": model_version,
        }
        self._own = own
        self._queue = queue
        self._executor = settings.executor_metrics
        names = (*own, "service", "method", "code")
        self._server = Histogram(
            REQUESTS,
            "Seconds from the request's arrival to its answer.",
            names,
            buckets=BUCKETS,
            registry=self.registry if self._executor else None,
        )
        self._client = Histogram(
            "seldon_api_executor_client_requests_seconds",
            "Seconds that the model took, its queue included.",
            (*names, "model_image"),
            buckets=BUCKETS,
            registry=self.registry if self._executor else None,
        )
        self._image = image or tag
        self._feedback = Counter(
            "seldon_api_model_feedback", "Feedback received.", tuple(own), registry=self.registry
        ).labels(**own)
        self._reward = Counter(
            "seldon_api_model_feedback_reward", "Sum of the rewards.", tuple(own), registry=self.registry
        ).labels(**own)
        outcomes = Counter(
            FEEDBACK.removesuffix("_total"), "Predictions judged.", (*own, "outcome"), registry=self.registry
        )
        # Both exist from the start: an absent counter is not a zero.
        self._outcomes = {
            True: outcomes.labels(**own, outcome="wrong"),
            False: outcomes.labels(**own, outcome="right"),
        }
        waiting = Gauge(
            "chandlery_queue_requests",
            "Requests that wait for the model.",
            tuple(own),
            registry=self.registry,
            multiprocess_mode="livesum",
        ).labels(**own)
        # Workers share their values in files, and files hold no functions.
        self._shared = os.environ.get(SHARED_VARIABLE, "")
        self._set_queue = waiting.set if self._shared else _nothing
        if not self._shared:
            waiting.set_function(queue)
        self._batch = Histogram(
            "chandlery_batch_rows",
            "Rows of each call of the model.",
            tuple(own),
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        ).labels(**own)
        refusals = Counter(
            "chandlery_connections_refused",
            "Connections closed for what they sent, held or took.",
            (*own, "reason"),
            registry=self.registry,
        )
        self._refusals = {reason: refusals.labels(**own, reason=reason) for reason in REASONS}
        self._servers: dict[tuple[str, str, int], Histogram] = {}
        self._clients: dict[tuple[str, str, int], Histogram] = {}

    def request(self, service: str, method: str, code: int, seconds: float, model_seconds: float) -> None:
        """Count a request.

        Args:
            service: predictions, feedback, status or metadata.
            method: HTTP method, lower case.
            code: HTTP status answered.
            seconds: from arrival to answer.
            model_seconds: the model's part of it; negative when the model was not asked.
        """
        self._set_queue(self._queue())
        key = (service, method, code)
        self._observe(self._server, self._servers, key, seconds)
        if model_seconds >= 0:
            self._observe(self._client, self._clients, key, model_seconds)

    def refused(self, reason: str) -> None:
        """Count a connection that was refused or dropped, for one of `REASONS`."""
        self._refusals[reason].inc()

    def feedback(self, reward: float, wrong: list[bool]) -> None:
        """Count one feedback: its reward, zero or not, and the outcome of each prediction judged."""
        self._feedback.inc()
        self._reward.inc(reward)
        for outcome in wrong:
            self._outcomes[outcome].inc()

    def _observe(
        self,
        histogram: Histogram,
        children: dict[tuple[str, str, int], Histogram],
        key: tuple[str, str, int],
        seconds: float,
    ) -> None:
        if key not in children:
            service, method, code = key
            labels = {**self._own, "service": service, "method": method, "code": str(code)}
            if histogram is self._client:
                labels["model_image"] = self._image
            children[key] = histogram.labels(**labels)
        children[key].observe(seconds)

    def batch(self, rows: int) -> None:
        """Count a call of the model."""
        self._batch.observe(rows)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format: of all workers, those that have ended too."""
        self._set_queue(self._queue())
        return generate_latest(self.of_all())

    def of_all(self) -> CollectorRegistry:
        """Return the registry to scrape: of all workers where there are several."""
        if not self._shared:
            return self.registry
        together = CollectorRegistry()
        MultiProcessCollector(together, self._shared)  # type: ignore[no-untyped-call]
        return together


def _nothing(value: float) -> None:
    pass
