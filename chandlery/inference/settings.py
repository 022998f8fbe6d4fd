"""Settings of a replica, from its environment: Seldon's own variables, and CHANDLERY_ ones for the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chandlery import __version__
from chandlery.errors import UserError

MOUNTED_MODEL = "/mnt/models"  # where the storage initializer of Seldon and KServe puts `modelUri`


@dataclass(frozen=True)
class Settings:
    """How one replica serves.

    Attributes:
        model_uri: folder of a model package, `file://` or `models:/name/version`.
        model_name: name under which protocol v2 knows the model.
        model_version: version reported; empty: from the address or the package.
        unit: name of the graph node (`PREDICTIVE_UNIT_ID`).
        image: image of the container, `name:tag`.
        predictor: name of the predictor (`PREDICTOR_ID`).
        predictor_version: label `version` of the predictor.
        deployment: name of the SeldonDeployment.
        namespace: its namespace.
        host: address to listen on.
        port: port to listen on; 0: one that the system chooses.
        metrics_port: second port for Prometheus alone, as Seldon scrapes it; 0: none.
        grpc_port: port for predictions over gRPC; 0: none.
        workers: processes that share the ports; 0: as many as are found best at the start.
        max_batch: most rows that one call of the model gets from several requests.
        max_wait: seconds that a first request waits for others; 0: only while the model is busy.
        max_queue: most requests that wait; further ones get 503.
        max_body: largest request body in bytes; larger ones get 413.
        max_held: most bytes of unanswered bodies, and of unread answers, over all connections.
        max_connections: most connections; beyond, idle ones are closed.
        read_seconds: seconds in which a request has to arrive and an answer to be read; longer from 8 KiB/s on.
        timeout: seconds after which a waiting request gets 504.
        drain_delay: seconds between failing readiness and refusing connections.
        runtime: what computes a Keras model: `tensorflow`, `litert`, or `auto` for the faster one that is there.
        exact: answer row by row as a plain session of TensorFlow does, bit for bit; None: as the recipe says.
        threads: most threads of one call of the model; 0: as many as there are cores.
        tune_seconds: seconds in which the fastest forms of a model may be looked for when it is loaded; 0: not at all.
        grace: seconds that requests in flight get to finish after that.
        request_log: folder of the request log; None: none is kept.
        gateway: base URL of the prediction gateway, to which feedback for other predictors goes; empty: none.
        feedback_token: what feedback has to bring as `authorization: Bearer ...`; empty: nothing.
        feedback_share: part of the feedback that counts which one client may give, by its address; 1: no bound.
        executor_metrics: export the metrics that Seldon's executor exports; off where a real executor stands in front.
    """

    model_uri: str
    model_name: str = "model"
    model_version: str = ""
    unit: str = "model"
    image: str = f"chandlery-python:{__version__}"
    predictor: str = ""
    predictor_version: str = ""
    deployment: str = ""
    namespace: str = "default"
    host: str = "127.0.0.1"
    port: int = 9000
    metrics_port: int = 0
    grpc_port: int = 0
    workers: int = 1
    max_batch: int = 64
    max_wait: float = 0.0
    max_queue: int = 1024
    max_body: int = 10 * 1024 * 1024
    max_held: int = 256 * 1024 * 1024
    max_connections: int = 16_384
    read_seconds: float = 30.0
    timeout: float = 10.0
    drain_delay: float = 0.5
    grace: float = 20.0
    runtime: str = "auto"
    exact: bool | None = None
    threads: int = 0
    tune_seconds: float = 2.0
    request_log: Path | None = None
    gateway: str = ""
    feedback_token: str = field(default="", repr=False)
    feedback_share: float = 1.0
    executor_metrics: bool = True


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        UserError: no model is named, or a number is none or out of range.
    """
    unit = environment.get("PREDICTIVE_UNIT_ID", "")
    name = environment.get("MODEL_NAME", "") or unit or "model"
    log = environment.get("CHANDLERY_REQUEST_LOG", "")
    return Settings(
        model_uri=_model_uri(environment),
        model_name=name,
        model_version=environment.get("MODEL_VERSION", ""),
        unit=unit or name,
        image=environment.get("PREDICTIVE_UNIT_IMAGE", "") or Settings.image,
        predictor=environment.get("PREDICTOR_ID", ""),
        predictor_version=_label(environment, "version"),
        deployment=environment.get("SELDON_DEPLOYMENT_ID", ""),
        namespace=environment.get("SELDON_NAMESPACE", "")
        or environment.get("CHANDLERY_NAMESPACE", "")
        or "default",
        host=environment.get("HOST", "") or Settings.host,
        port=int(_number(environment, "PREDICTIVE_UNIT_HTTP_SERVICE_PORT", Settings.port, 0, 65535)),
        metrics_port=int(_number(environment, "PREDICTIVE_UNIT_METRICS_SERVICE_PORT", 0, 0, 65535)),
        grpc_port=int(_number(environment, "PREDICTIVE_UNIT_GRPC_SERVICE_PORT", 0, 0, 65535)),
        workers=0
        if environment.get("CHANDLERY_WORKERS") == "auto"
        else int(_number(environment, "CHANDLERY_WORKERS", 1, 1, 1024)),
        max_batch=int(_number(environment, "CHANDLERY_MAX_BATCH", Settings.max_batch, 1, 65536)),
        max_wait=_number(environment, "CHANDLERY_MAX_WAIT_MS", 0, 0, 10_000) / 1000,
        max_queue=int(_number(environment, "CHANDLERY_MAX_QUEUE", Settings.max_queue, 1, 1_000_000)),
        max_body=int(_number(environment, "CHANDLERY_MAX_BODY_BYTES", Settings.max_body, 1, 2**31)),
        max_held=int(_number(environment, "CHANDLERY_MAX_HELD_BYTES", Settings.max_held, 2**20, 2**40)),
        max_connections=int(
            _number(environment, "CHANDLERY_MAX_CONNECTIONS", Settings.max_connections, 1, 1_000_000)
        ),
        read_seconds=_number(environment, "CHANDLERY_READ_SECONDS", Settings.read_seconds, 0.1, 3600),
        timeout=_number(environment, "CHANDLERY_TIMEOUT_SECONDS", Settings.timeout, 0.001, 3600),
        drain_delay=_number(environment, "CHANDLERY_DRAIN_DELAY_SECONDS", Settings.drain_delay, 0, 600),
        grace=_number(environment, "CHANDLERY_GRACE_SECONDS", Settings.grace, 0, 3600),
        runtime=_choice(environment, "CHANDLERY_RUNTIME", ("auto", "tensorflow", "litert")),
        exact=_exact(environment),
        threads=int(_number(environment, "CHANDLERY_THREADS", 0, 0, 1024)),
        tune_seconds=_number(environment, "CHANDLERY_TUNE_SECONDS", Settings.tune_seconds, 0, 600),
        request_log=Path(log) if log else None,
        gateway=environment.get("CHANDLERY_GATEWAY", "").rstrip("/"),
        feedback_token=environment.get("CHANDLERY_FEEDBACK_TOKEN", ""),
        feedback_share=_number(environment, "CHANDLERY_FEEDBACK_SHARE", 1.0, 0.001, 1),
        executor_metrics=environment.get("CHANDLERY_EXECUTOR_METRICS", "true").lower() != "false",
    )


def _model_uri(environment: Mapping[str, str]) -> str:
    if environment.get("MODEL_URI"):
        return environment["MODEL_URI"]
    # A prepackaged server of Seldon gets the folder as a typed parameter.
    parameters = _json(environment, "PREDICTIVE_UNIT_PARAMETERS", [])
    for parameter in parameters if isinstance(parameters, list) else []:
        if isinstance(parameter, dict) and parameter.get("name") == "model_uri" and parameter.get("value"):
            return str(parameter["value"])
    if Path(MOUNTED_MODEL).is_dir():
        return MOUNTED_MODEL
    raise UserError(
        "no model to serve: MODEL_URI is not set", "set it to a model package or models:/name/version"
    )


def _choice(environment: Mapping[str, str], variable: str, choices: tuple[str, ...]) -> str:
    """Return the value of a variable that takes one of a few words; the first where it is not set."""
    value = environment.get(variable, "") or choices[0]
    if value not in choices:
        raise UserError(f"{variable}={value!r} is unknown", f"use one of: {', '.join(choices)}")
    return value


def _exact(environment: Mapping[str, str]) -> bool | None:
    return {"recipe": None, "true": True, "false": False}[
        _choice(environment, "CHANDLERY_EXACT", ("recipe", "true", "false"))
    ]


def _label(environment: Mapping[str, str], name: str) -> str:
    labels = _json(environment, "PREDICTOR_LABELS", {})
    return str(labels.get(name, "")) if isinstance(labels, dict) else ""


def _json(environment: Mapping[str, str], variable: str, default: list[object] | dict[str, object]) -> object:
    text = environment.get(variable, "")
    if not text:
        return default
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{variable} is not JSON: {error}", "the operator writes it; leave it alone"
        ) from error


def _number(environment: Mapping[str, str], variable: str, default: float, low: float, high: float) -> float:
    text = environment.get(variable, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError as error:
        raise UserError(
            f"{variable}={text!r} is not a number", f"use a number from {low} to {high}"
        ) from error
    if not low <= value <= high:
        raise UserError(f"{variable}={text} is out of range", f"use a number from {low} to {high}")
    return value
