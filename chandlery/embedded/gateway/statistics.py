"""Counters of a gateway, and the table that it applies, read from its administration socket. Both kinds answer alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from chandlery.embedded.gateway.envoy import ROUTE_CONFIG
from chandlery.embedded.gateway.table import RPC_SUFFIX

TIMEOUT_SECONDS = 5.0

# Weighted clusters alone (four parts, and a fifth for gRPC): a request that names its predictor is not evidence.
_COUNTS = r"^cluster\.[^./]+/[^./]+/[^./]+/[^./]+(/rpc)?\.(upstream_rq_([1-5][0-9][0-9]|time)|grpc\.[0-9]+)$"
_VERSIONS = "version_text"

_CODE = re.compile(
    r'envoy_cluster_upstream_rq\{envoy_response_code="(\d+)",envoy_cluster_name="([^"]+)"\} (\d+)'
)
_RPC = re.compile(r'envoy_cluster_grpc_(\d+)\{envoy_cluster_name="([^"]+)"\} (\d+)')
_BUCKET = re.compile(
    r'envoy_cluster_upstream_rq_time_bucket\{envoy_cluster_name="([^"]+)",le="([^"]+)"\} (\d+)'
)
# A status of gRPC as the HTTP status that says the same (google.rpc.Code); any other is an error of the server.
HTTP_OF_RPC = {
    0: "200", 1: "499", 3: "400", 4: "504", 5: "404", 6: "409", 7: "403", 8: "429", 9: "400", 10: "409", 11: "400",
    12: "501", 14: "503", 16: "401",
}  # fmt: skip

_SUM = re.compile(r'envoy_cluster_upstream_rq_time_sum\{envoy_cluster_name="([^"]+)"\} (\S+)')


@dataclass
class ClusterCounts:
    """Counters of one cluster since the gateway made it.

    Attributes:
        codes: requests by HTTP status, those that the gateway answered in the server's place included.
        buckets: answered requests by upper bound of their latency in milliseconds, cumulative; `+Inf` is all.
        milliseconds: sum of the latencies.
    """

    codes: dict[str, float] = field(default_factory=dict)
    buckets: dict[str, float] = field(default_factory=dict)
    milliseconds: float = 0.0


async def read_counts(admin: str) -> dict[str, ClusterCounts]:
    """Return the counters by cluster name.

    Args:
        admin: path of the gateway's administration socket.

    Raises:
        aiohttp.ClientError: the gateway does not answer.
    """
    text = await _get(admin, "/stats/prometheus", {"filter": _COUNTS, "usedonly": ""})
    return parse_counts(text)


async def read_versions(admin: str) -> tuple[int, int]:
    """Return the versions of the clusters and of the routes that the gateway applies; 0 for none yet.

    Args:
        admin: path of the gateway's administration socket.

    Raises:
        aiohttp.ClientError: the gateway does not answer.
    """
    text = await _get(admin, "/stats", {"filter": _VERSIONS, "type": "TextReadouts"})
    return parse_versions(text)


def parse_counts(text: str) -> dict[str, ClusterCounts]:
    """Read the counters from the Prometheus text of the gateway."""
    found: dict[str, ClusterCounts] = {}
    for line in text.splitlines():
        if match := _RPC.match(line):
            codes = found.setdefault(match[2], ClusterCounts()).codes
            code = HTTP_OF_RPC.get(int(match[1]), "500")
            codes[code] = codes.get(code, 0.0) + float(match[3])
        elif match := _CODE.match(line):
            if match[2].endswith(RPC_SUFFIX):
                continue  # a refusal over gRPC is HTTP 200
            found.setdefault(match[2], ClusterCounts()).codes[match[1]] = float(match[3])
        elif match := _BUCKET.match(line):
            found.setdefault(match[1], ClusterCounts()).buckets[match[2]] = float(match[3])
        elif match := _SUM.match(line):
            found.setdefault(match[1], ClusterCounts()).milliseconds = float(match[2])
    return found


def parse_versions(text: str) -> tuple[int, int]:
    """Read the versions in force from the gateway's text readouts."""
    values: Mapping[str, str] = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    return (
        _number(values.get("cluster_manager.cds.version_text", "")),
        _number(values.get(f"http.gateway.rds.{ROUTE_CONFIG}.version_text", "")),
    )


def _number(text: str) -> int:
    stripped = text.strip().strip('"')
    return int(stripped) if stripped.isdecimal() else 0


async def _get(admin: str, path: str, parameters: Mapping[str, str]) -> str:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(admin)), timeout=timeout) as session,
        session.get(f"http://admin{path}", params=dict(parameters)) as answer,
    ):
        answer.raise_for_status()
        return await answer.text()
