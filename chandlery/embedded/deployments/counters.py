"""Counters of every predictor that only grow, whatever restarts: servers, gateway or this controller.

The sources start again at zero when their process does; here only what they added is added. Totals and the values
last seen are written to disk together, so that a later controller goes on from them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chandlery.embedded.gateway.envoy import LATENCY_BOUNDS_MS
from chandlery.embedded.gateway.statistics import ClusterCounts
from chandlery.embedded.gateway.table import cluster_owner, write_json
from chandlery.resources.counters import FEEDBACK, REQUESTS


@dataclass
class Totals:
    """Counters of one predictor since its deployment was made.

    Attributes:
        gateway: requests by status and latency, as the gateway saw them.
        feedback: judged answers by outcome.
    """

    gateway: ClusterCounts = field(default_factory=ClusterCounts)
    feedback: dict[str, float] = field(default_factory=dict)


class Counters:
    """Totals by deployment and predictor.

    Args:
        path: file that remembers them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._uids: dict[str, str] = {}
        self._totals: dict[str, dict[str, Totals]] = {}
        self._gateway_seen: dict[str, ClusterCounts] = {}
        self._gateway_pid = 0
        self._feedback_seen: dict[str, dict[str, float]] = {}
        self._changed = False
        self._load()

    def follow(self, uids: Mapping[str, str]) -> None:
        """Keep deployments `uids` (uid by `namespace/name`) and forget others; a deployment made again starts at zero."""
        for key in list(self._totals):
            if uids.get(key) != self._uids.get(key):
                del self._totals[key]
                self._changed = True
        if dict(uids) != self._uids:
            self._uids = dict(uids)
            self._changed = True
        for key in uids:
            self._totals.setdefault(key, {})

    def add_gateway(self, pid: int, found: Mapping[str, ClusterCounts]) -> None:
        """Add what the gateway counted since the last look.

        Args:
            pid: its process, whose counters start at zero.
            found: counters by cluster.
        """
        if pid != self._gateway_pid:
            self._gateway_pid, self._gateway_seen = pid, {}
        for cluster, now in found.items():
            key, predictor = cluster_owner(cluster)
            if key not in self._totals:
                continue
            before = self._gateway_seen.get(cluster, ClusterCounts())
            if _smaller(now.codes, before.codes) or _smaller(now.buckets, before.buckets):
                before = ClusterCounts()  # the cluster was made again
            if now != before:
                total = self._totals[key].setdefault(predictor, Totals()).gateway
                _add(total.codes, now.codes, before.codes)
                _add(total.buckets, now.buckets, before.buckets)
                total.milliseconds += now.milliseconds - before.milliseconds
                self._changed = True
            self._gateway_seen[cluster] = now
        # A cluster that the gateway has dropped would start at zero if it came back.
        self._gateway_seen = {name: counts for name, counts in self._gateway_seen.items() if name in found}

    def add_feedback(self, process: str, key: str, predictor: str, found: Mapping[str, float]) -> None:
        """Add what a server counted since the last look.

        Args:
            process: name of the server's process, whose counters start at zero.
            key: deployment, `namespace/name`.
            predictor: name of the predictor.
            found: feedback by outcome.
        """
        if key not in self._totals:
            return
        before = self._feedback_seen.get(process, {})
        if _smaller(found, before):
            before = {}
        if dict(found) != before:
            _add(self._totals[key].setdefault(predictor, Totals()).feedback, found, before)
            self._changed = True
        self._feedback_seen[process] = dict(found)

    def forget_process(self, process: str) -> None:
        """Forget what was last seen of a process that is gone for good."""
        self._feedback_seen.pop(process, None)

    def text(self, key: str) -> str | None:
        """Return the metrics of a deployment (`namespace/name`) in Prometheus' format; None when it is not known."""
        if key not in self._totals:
            return None
        namespace, _, name = key.rpartition("/")
        lines = [
            f"# HELP {REQUESTS} Seconds that predictions took, as the gateway saw them.",
            f"# TYPE {REQUESTS} histogram",
        ]
        feedback = [
            f"# HELP {FEEDBACK} Answers whose truth or reward came back, by outcome.",
            f"# TYPE {FEEDBACK} counter",
        ]
        for predictor, total in sorted(self._totals[key].items()):
            labels = f'deployment_name="{name}",namespace="{namespace}",predictor_name="{predictor}"'
            lines += _histogram(f'{labels},service="predictions",method="post"', total.gateway)
            for outcome in ("right", "wrong"):
                feedback.append(
                    f'{FEEDBACK}{{{labels},outcome="{outcome}"}} {total.feedback.get(outcome, 0):g}'
                )
        return "\n".join(lines + feedback) + "\n"

    def save(self) -> None:
        """Write the totals when they have changed."""
        if not self._changed:
            return
        write_json(
            self._path,
            {
                "uids": self._uids,
                "totals": {
                    key: {predictor: asdict(total) for predictor, total in totals.items()}
                    for key, totals in self._totals.items()
                },
                "gateway_pid": self._gateway_pid,
                "gateway_seen": {name: asdict(counts) for name, counts in self._gateway_seen.items()},
                "feedback_seen": self._feedback_seen,
            },
        )
        self._changed = False

    def _load(self) -> None:
        try:
            stored: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        self._uids = stored["uids"]
        self._totals = {
            key: {
                predictor: Totals(ClusterCounts(**total["gateway"]), total["feedback"])
                for predictor, total in totals.items()
            }
            for key, totals in stored["totals"].items()
        }
        self._gateway_pid = stored["gateway_pid"]
        self._gateway_seen = {
            name: ClusterCounts(**counts) for name, counts in stored["gateway_seen"].items()
        }
        self._feedback_seen = stored["feedback_seen"]


def _histogram(labels: str, counts: ClusterCounts) -> list[str]:
    lines = []
    for bound in LATENCY_BOUNDS_MS:
        number = counts.buckets.get(str(bound), 0)
        lines.append(f'{REQUESTS}_bucket{{{labels},le="{bound / 1000:g}"}} {number:.0f}')
    lines.append(f'{REQUESTS}_bucket{{{labels},le="+Inf"}} {counts.buckets.get("+Inf", 0):.0f}')
    # The requests with no answer have no latency, so the count by status can be larger than the last bucket.
    for code, number in sorted(counts.codes.items()):
        lines.append(f'{REQUESTS}_count{{{labels},code="{code}"}} {number:.0f}')
    lines.append(f"{REQUESTS}_sum{{{labels}}} {counts.milliseconds / 1000:.6f}")
    return lines


def _smaller(now: Mapping[str, float], before: Mapping[str, float]) -> bool:
    return any(now.get(name, 0.0) < value for name, value in before.items())


def _add(total: dict[str, float], now: Mapping[str, float], before: Mapping[str, float]) -> None:
    for name, value in now.items():
        total[name] = total.get(name, 0.0) + value - before.get(name, 0.0)
