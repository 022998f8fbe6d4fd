"""The evidence of a deployment's predictors, as counts: requests, errors, slow ones, judged and wrong answers.

Read from the metrics that the gateway gives for a deployment, or from Prometheus when `CHANDLERY_PROMETHEUS` is
set. Both speak the names of Seldon's executor, and our own for feedback, since Seldon's counters drop rewards of 0.
Counts only grow while a deployment lives; a reader takes differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from chandlery import addresses
from chandlery.errors import NotFoundError, PlatformError, UserError
from chandlery.resources.counters import FEEDBACK, REQUESTS, Sample, parse_text
from chandlery.resources.counts import Counts

_FIRST_REFUSAL = 400
_FIRST_ERROR = 500
_OVERLOADED = (408, 429)  # the request was good, the server had no time for it

_Key = TypeVar("_Key")


def read_evidence(
    deployment: str,
    namespace: str,
    objective_seconds: float,
    gateway: str = "",
    prometheus: str = "",
    deadline: float = 10.0,
) -> dict[str, Counts]:
    """Return the counts of each predictor.

    Args:
        deployment: name of the SeldonDeployment.
        namespace: its namespace.
        objective_seconds: latency objective; rounded up to the next bucket boundary of the histogram.
        gateway: base URL of the gateway; empty: the endpoint's.
        prometheus: base URL of a Prometheus server; empty: the endpoint's, and when that is empty too the gateway.
        deadline: seconds for the call.

    Returns:
        counts by predictor name, `v12`.

    Raises:
        NotFoundError: the gateway knows no such deployment.
        PlatformError: the source cannot be reached or does not answer as it should.
        UserError: the objective is not positive.
    """
    if objective_seconds <= 0:
        raise UserError(f"objective {objective_seconds} s", "use a positive number of seconds")
    prometheus = prometheus or ("" if gateway else addresses.endpoints().prometheus)
    if prometheus:
        samples = _from_prometheus(prometheus.rstrip("/"), deployment, namespace, deadline)
    else:
        base = (gateway or addresses.require_gateway()).rstrip("/")
        samples = _from_gateway(base, deployment, namespace, deadline)
    return count(samples, deployment, objective_seconds)


def count(samples: Iterable[Sample], deployment: str, objective_seconds: float) -> dict[str, Counts]:
    """Add samples up by predictor; see `read_evidence`."""
    requests: dict[str, float] = {}
    errors: dict[str, float] = {}
    refused: dict[str, float] = {}
    judged: dict[str, float] = {}
    wrong: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {}
    for sample in samples:
        predictor = sample.labels.get("predictor_name", "")
        if sample.labels.get("deployment_name") != deployment or not predictor:
            continue
        if sample.name == f"{REQUESTS}_count" and _is_prediction(sample.labels):
            _add(requests, predictor, sample.value)
            code = sample.labels.get("code", "")
            _add(errors, predictor, sample.value if _is_error(code) else 0.0)
            _add(refused, predictor, sample.value if _is_refusal(code) else 0.0)
        elif sample.name == f"{REQUESTS}_bucket" and _is_prediction(sample.labels):
            _add(buckets.setdefault(predictor, {}), float(sample.labels["le"]), sample.value)
        elif sample.name == FEEDBACK:
            _add(judged, predictor, sample.value)
            _add(wrong, predictor, sample.value if sample.labels.get("outcome") == "wrong" else 0.0)
    return {
        predictor: Counts(
            requests=round(requests.get(predictor, 0)),
            errors=round(errors.get(predictor, 0)),
            slow=round(_slow(buckets.get(predictor, {}), objective_seconds)),
            judged=round(judged.get(predictor, 0)),
            wrong=round(wrong.get(predictor, 0)),
            refused=round(refused.get(predictor, 0)),
        )
        for predictor in sorted(set(requests) | set(judged) | set(buckets))
    }


def _slow(buckets: Mapping[float, float], objective: float) -> float:
    if not buckets:
        return 0.0
    total = max(buckets.values())
    boundary = (
        min(edge for edge in buckets if edge >= objective * (1 - 1e-9)) if max(buckets) >= objective else None
    )
    return 0.0 if boundary is None else total - buckets[boundary]


def _is_prediction(labels: Mapping[str, str]) -> bool:
    return labels.get("service", "predictions") in ("predictions", "infer", "predict", "/v2/models/infer")


def _is_error(code: str) -> bool:
    return code.isdecimal() and (int(code) >= _FIRST_ERROR or int(code) in _OVERLOADED)


def _is_refusal(code: str) -> bool:
    return code.isdecimal() and int(code) >= _FIRST_REFUSAL and not _is_error(code)


def _add(totals: dict[_Key, float], key: _Key, value: float) -> None:
    totals[key] = totals.get(key, 0.0) + value


def _from_gateway(base: str, deployment: str, namespace: str, deadline: float) -> list[Sample]:
    status, text = _get(f"{base}/seldon/{namespace}/{deployment}/metrics", {}, deadline)
    if status == 404:
        raise NotFoundError(
            f"the gateway knows no deployment {namespace}/{deployment}", "check its name and namespace"
        )
    if status != 200:
        raise PlatformError(
            f"metrics of {namespace}/{deployment}: HTTP {status}", "is the deployment controller running?"
        )
    return parse_text(text)


def _from_prometheus(base: str, deployment: str, namespace: str, deadline: float) -> list[Sample]:
    import json

    samples: list[Sample] = []
    for metric, by in (
        (f"{REQUESTS}_count", "predictor_name, service, code"),
        (f"{REQUESTS}_bucket", "predictor_name, service, le"),
        (FEEDBACK, "predictor_name, outcome"),
    ):
        # increase() would extrapolate; the sum of the counters is exact, and resets are the reader's to handle.
        chosen = f'deployment_name="{deployment}",namespace=~"{namespace}|"'
        query = f"sum by ({by}) ({metric}{{{chosen}}})"
        status, text = _get(f"{base}/api/v1/query", {"query": query}, deadline)
        try:
            body = json.loads(text)
        except json.JSONDecodeError as error:
            raise PlatformError(
                f"{base} is not a Prometheus server: HTTP {status}", "check CHANDLERY_PROMETHEUS"
            ) from error
        if body.get("status") != "success":
            raise PlatformError(
                f"Prometheus refused a query: {body.get('error', f'HTTP {status}')}", f"the query: {query}"
            )
        for row in body["data"]["result"]:
            labels = {**row["metric"], "deployment_name": deployment}
            samples.append(Sample(metric, labels, float(row["value"][1])))
    return samples


def _get(url: str, parameters: Mapping[str, str], deadline: float) -> tuple[int, str]:
    import httpx

    try:
        answer = httpx.get(url, params=dict(parameters), timeout=deadline)
    except httpx.HTTPError as error:
        raise PlatformError(
            f"{url} cannot be reached: {error or type(error).__name__}",
            "is the platform running? `chandlery status` shows it",
        ) from error
    return answer.status_code, answer.text
