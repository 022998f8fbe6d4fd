"""Load on an HTTP server: wrk where it is installed, otherwise Python threads."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Measured:
    """Figures of one load.

    Attributes:
        rate: good answers per second.
        p50: median latency in ms.
        p99: 99th percentile in ms.
        bad: answers that were not 200.
    """

    rate: float
    p50: float
    p99: float
    bad: int


def generator() -> str:
    """Return the name of the load generator that will be used."""
    return "wrk" if shutil.which("wrk") else "python threads"


def load(
    port: int,
    path: str,
    body: bytes,
    connections: int,
    seconds: float,
    headers: Mapping[str, str] = JSON,
) -> Measured:
    """Post `body` over and over.

    Args:
        port: port on loopback.
        path: path to post to.
        body: what is posted.
        connections: connections that are kept busy, one request each at a time.
        seconds: how long; wrk takes whole seconds.
        headers: of each request.
    """
    if generator() == "wrk":
        return _wrk(port, path, body, connections, seconds, headers)
    return _threads(port, path, body, connections, seconds, headers)


def _wrk(
    port: int, path: str, body: bytes, connections: int, seconds: float, headers: Mapping[str, str]
) -> Measured:
    stated = "\n".join(
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()
    )
    escaped = "".join("\\" + f"{byte:03d}" for byte in body)  # a body may hold any byte
    script = f"""
wrk.method = "POST"
{stated}
wrk.body = "{escaped}"
function done(summary, latency, requests)
  local errors = summary.errors
  local good = (summary.requests - errors.status) / summary.duration * 1e6
  local bad = errors.status + errors.connect + errors.read + errors.timeout
  local p50, p99 = latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  io.write(string.format("MEASURED %f %f %f %d\\n", good, p50, p99, bad))
end
"""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{round(seconds)}s",
            "--timeout",
            "30s",
            "-s",
            file.name,
        ]
        address = f"http://127.0.0.1:{port}{path}"
        output = subprocess.run(
            [*command, address], check=True, capture_output=True, text=True, timeout=seconds + 60
        ).stdout
    found = re.search(r"MEASURED (\S+) (\S+) (\S+) (\d+)", output)
    if found is None:
        raise RuntimeError(f"wrk printed no figures:\n{output}")
    rate, p50, p99 = (float(found[group]) for group in (1, 2, 3))
    return Measured(rate, p50, p99, int(found[4]))


def _threads(
    port: int, path: str, body: bytes, connections: int, seconds: float, headers: Mapping[str, str]
) -> Measured:
    latencies: list[float] = []
    bad: list[int] = []
    until = time.perf_counter() + seconds

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while (began := time.perf_counter()) < until:
            connection.request("POST", path, body, dict(headers))
            response = connection.getresponse()
            response.read()
            latencies.append(time.perf_counter() - began)
            if response.status != 200:
                bad.append(response.status)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    percentiles = statistics.quantiles(latencies, n=100)
    good = len(latencies) - len(bad)
    return Measured(good / seconds, percentiles[49] * 1e3, percentiles[98] * 1e3, len(bad))
