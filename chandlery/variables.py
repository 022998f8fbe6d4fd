"""The environment variables that Chandlery reads: one table, which the docs show (docs/settings.md).

Variables of the systems themselves (Pachyderm's, MLflow's, Seldon's) keep the names that these systems give them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """One environment variable that a user may set.

    Attributes:
        name: its name.
        group: heading under which the docs show it.
        default: what holds when it is not set.
        meaning: what it is for, with its unit.
    """

    name: str
    group: str
    default: str
    meaning: str


_ENDPOINTS = "Endpoints"
_LAPTOP = "Laptop platform"
_SERVER = "Inference server"
_STEPS = "Steps"

VARIABLES = (
    Variable(
        "CHANDLERY_HOME",
        _ENDPOINTS,
        "`.chandlery` here, or in the nearest folder above that has one",
        "folder of everything that the laptop platform keeps",
    ),
    Variable(
        "CHANDLERY_DATA",
        _ENDPOINTS,
        "embedded",
        "versioned data: `embedded:///folder`, `grpc://host:port`, `grpcs://host:port` or `unix:///path.sock`",
    ),
    Variable(
        "CHANDLERY_RESOURCES",
        _ENDPOINTS,
        "embedded",
        "custom resources: `embedded:///folder` or `kubernetes://[context]`",
    ),
    Variable("MLFLOW_TRACKING_URI", _ENDPOINTS, "started by `chandlery up`", "MLflow"),
    Variable(
        "CHANDLERY_GATEWAY", _ENDPOINTS, "started by `chandlery up`", "base URL of the prediction gateway"
    ),
    Variable(
        "CHANDLERY_PROMETHEUS",
        _ENDPOINTS,
        "the gateway's own counters",
        "base URL of the Prometheus server that the canary reads its evidence from",
    ),
    Variable(
        "CHANDLERY_ARTIFACTS",
        _ENDPOINTS,
        "`.chandlery/artifacts`",
        "root of checkpoints, checkouts and run records",
    ),
    Variable("CHANDLERY_NAMESPACE", _ENDPOINTS, "`default`", "Kubernetes namespace of the custom resources"),
    Variable("CHANDLERY_MLFLOW_PORT", _LAPTOP, "a free port, remembered", "port of the laptop's MLflow"),
    Variable("CHANDLERY_GATEWAY_PORT", _LAPTOP, "a free port, remembered", "port of the laptop's gateway"),
    Variable(
        "CHANDLERY_GATEWAY_KIND",
        _LAPTOP,
        "Envoy where there is one",
        "gateway of the laptop: `envoy`, or `aiohttp`, a small proxy",
    ),
    Variable("CHANDLERY_ENVOY", _LAPTOP, "the packaged one, else the PATH", "path of the Envoy program"),
    Variable(
        "CHANDLERY_MAX_BATCH", _SERVER, "64", "rows that one call of the model gets from several requests"
    ),
    Variable(
        "CHANDLERY_MAX_WAIT_MS",
        _SERVER,
        "0",
        "milliseconds that a first request waits for others; 0: only while the model is busy",
    ),
    Variable(
        "CHANDLERY_MAX_QUEUE", _SERVER, "1024", "requests that wait for the model; more are answered with 503"
    ),
    Variable(
        "CHANDLERY_MAX_BODY_BYTES",
        _SERVER,
        "10485760",
        "bytes of a request's body; larger ones are answered with 413",
    ),
    Variable(
        "CHANDLERY_MAX_HELD_BYTES",
        _SERVER,
        "268435456",
        "bytes of bodies, and of answers nobody reads, over all connections; then the largest is refused with 503",
    ),
    Variable(
        "CHANDLERY_MAX_CONNECTIONS",
        _SERVER,
        "16384",
        "connections of one process; beyond, idle ones are closed, and where none is idle the new one gets 503",
    ),
    Variable(
        "CHANDLERY_READ_SECONDS",
        _SERVER,
        "30",
        "seconds in which a request arrives and an answer is read; longer from 8 KiB a second on",
    ),
    Variable(
        "CHANDLERY_TIMEOUT_SECONDS",
        _SERVER,
        "10",
        "seconds after which a waiting request is answered with 504",
    ),
    Variable(
        "CHANDLERY_DRAIN_DELAY_SECONDS",
        _SERVER,
        "0.5",
        "seconds between failing readiness and refusing connections, when the server stops",
    ),
    Variable(
        "CHANDLERY_GRACE_SECONDS", _SERVER, "20", "seconds that requests in flight get to finish after that"
    ),
    Variable(
        "CHANDLERY_WORKERS",
        _SERVER,
        "1",
        "processes that share a server's ports; auto: one for each core or GPU where the model is quick, else one",
    ),
    Variable(
        "CHANDLERY_RUNTIME",
        _SERVER,
        "auto",
        "what computes a Keras model: tensorflow, litert, or auto for the faster one that is there and verified",
    ),
    Variable(
        "CHANDLERY_EXACT",
        _SERVER,
        "recipe",
        "true: answer row by row, to the last bit as a plain session; false: in batches; recipe: as the recipe says",
    ),
    Variable(
        "CHANDLERY_THREADS", _SERVER, "the cores that it may use", "most threads of one call of the model"
    ),
    Variable(
        "CHANDLERY_TUNE_SECONDS",
        _SERVER,
        "2",
        "seconds in which a server may compile and measure forms of a model when it loads it; 0: not at all",
    ),
    Variable(
        "CHANDLERY_FEEDBACK_TOKEN",
        _SERVER,
        "none",
        "what feedback has to bring as `authorization: Bearer ...`; clients of this package read it too",
    ),
    Variable(
        "CHANDLERY_FEEDBACK_SHARE",
        _SERVER,
        "1",
        "part of the feedback that counts which one client may give beyond its first 50 predictions; 1: no bound",
    ),
    Variable(
        "CHANDLERY_GRPC",
        _LAPTOP,
        "false",
        "`true`: model servers speak gRPC too, and the gateway passes it on; also in a deployment's own environment",
    ),
    Variable(
        "CHANDLERY_MLFLOW_AUTH",
        _LAPTOP,
        "as it was; off in a new home",
        "`basic`: the laptop's MLflow asks for a user and a password; `off`: for none",
    ),
    Variable("CHANDLERY_REQUEST_LOG", _SERVER, "none", "folder of the request log"),
    Variable(
        "CHANDLERY_EXECUTOR_METRICS",
        _SERVER,
        "true",
        "export the metrics of Seldon's executor; `false` where a real executor stands in front",
    ),
    Variable("CHANDLERY_IMAGE", _STEPS, "none", "image of the step, for the provenance record"),
    Variable(
        "CHANDLERY_GIT_COMMIT",
        _STEPS,
        "of the working directory",
        "git commit of the code, for the provenance record",
    ),
)

# Set by Chandlery for its own processes; a user has no use for them.
INTERNAL = (
    "CHANDLERY_EVENTS",
    "CHANDLERY_RUN_ID",
    "CHANDLERY_SLOT",
    "CHANDLERY_TASK",
    "CHANDLERY_WORKER",
    "CHANDLERY_WORKER_CHOICE",
    "CHANDLERY_WORKER_LIFELINE",
)


def document() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Every environment variable that you may set. This page is generated from `chandlery/variables.py` by `make golden`.",
        "",
        "The endpoints may also stand in the table `[endpoints]` of a `chandlery.toml` in the working directory, under their",
        "names in lower case and without prefix (`mlflow` for `MLFLOW_TRACKING_URI`). The environment comes first, then the file,",
        "then what the laptop platform has started. `chandlery doctor` checks each endpoint.",
    ]
    for group in dict.fromkeys(variable.group for variable in VARIABLES):
        lines += ["", f"## {group}", "", "| variable | default | meaning |", "|---|---|---|"]
        lines += [f"| `{v.name}` | {v.default} | {v.meaning} |" for v in VARIABLES if v.group == group]
    return "\n".join(lines) + "\n"
