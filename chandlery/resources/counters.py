"""The counters of a deployment: metric names that server, gateway and reader share, and Prometheus' text format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

REQUESTS = "seldon_api_executor_server_requests_seconds"
FEEDBACK = "chandlery_feedback_total"
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Sample:
    """One sample of the Prometheus text format."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse_text(text: str) -> list[Sample]:
    """Read samples from Prometheus' text format; comments and lines that are none are skipped."""
    samples = []
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match and not line.startswith("#"):
            labels = {
                key: re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), value)
                for key, value in _LABEL.findall(match[2] or "")
            }
            samples.append(Sample(match[1], labels, float(match[3])))
    return samples
