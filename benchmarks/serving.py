"""Our inference server beside `mlflow models serve` and MLServer with its MLflow runtime: one model, one run.

The model is the Keras network of the digits example with random weights: what is measured is the way to it. The
peers run in an environment of their own (`benchmarks/peers`), made by uv on the first run and kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.load import Measured, generator, load

ROOT = Path(__file__).parents[1]
PEERS = Path(__file__).parent / "peers"
CONNECTIONS = (1, 8, 32)
ROUNDS = 3
SECONDS = 5.0
WARM_UP_SECONDS = 2.0
START_SECONDS = 180.0
ROW = [float(i % 17) for i in range(64)]
OURS = "chandlery"


@dataclass(frozen=True)
class Server:
    """A server to measure.

    Attributes:
        name: row of the table.
        command: how it is started; `{port}` is filled in.
        ready: path that answers 200 when it serves.
        path: path of a prediction.
        body: a request of one row.
        environment: variables that it needs; `{port}` is filled in.
        folder: working folder.
    """

    name: str
    command: list[str]
    ready: str
    path: str
    body: dict[str, Any]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)


def run() -> tuple[str, dict[str, Any]]:
    """Return a Markdown table and the figures."""
    python = _peers()
    with tempfile.TemporaryDirectory() as folder:
        servers = _servers(Path(folder), python)
        measured: dict[str, dict[int, list[Measured]]] = {
            s.name: {c: [] for c in CONNECTIONS} for s in servers
        }
        for number in range(ROUNDS):
            for server in servers:
                print(f"round {number + 1} of {ROUNDS}: {server.name}", file=sys.stderr, flush=True)
                for connections, figures in _measure(server).items():
                    measured[server.name][connections].append(figures)
    return _table(measured), {
        "generator": generator(),
        "rounds": ROUNDS,
        "seconds": SECONDS,
        "measured": {
            name: {str(c): [asdict(m) for m in figures] for c, figures in by.items()}
            for name, by in measured.items()
        },
    }


def _measure(server: Server) -> dict[int, Measured]:
    port = _free_port()
    fill = str(port)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [part.replace("{port}", fill) for part in server.command],
            cwd=server.folder,
            env={**os.environ, **{n: v.replace("{port}", fill) for n, v in server.environment.items()}},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            if not _ready(process, f"http://127.0.0.1:{port}{server.ready}"):
                log.seek(0)
                said = log.read().decode("utf-8", "replace")[-2000:]
                raise RuntimeError(f"{server.name} does not become ready:\n{said}")
            body = json.dumps(server.body).encode()
            load(port, server.path, body, 4, WARM_UP_SECONDS)
            return {c: load(port, server.path, body, c, SECONDS) for c in CONNECTIONS}
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # workers too
            process.wait()


def _servers(folder: Path, python: Path) -> list[Server]:
    _write_models(folder)
    tensor = {"name": "pixels", "shape": [1, 64], "datatype": "FP32", "data": ROW}
    mlserver = folder / "mlserver"
    mlserver.mkdir()
    # No worker processes: for small requests that is MLServer's fastest way.
    (mlserver / "settings.json").write_text(
        json.dumps({"parallel_workers": 0, "debug": False, "host": "127.0.0.1"})
    )
    (mlserver / "model-settings.json").write_text(
        json.dumps(
            {
                "name": "digits",
                "implementation": "mlserver_mlflow.MLflowRuntime",
                "parameters": {"uri": str(folder / "mlflow")},
            }
        )
    )
    bin_folder = python.parent
    peer = {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": (folder / "tracking").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }
    return [
        Server(
            OURS,
            [sys.executable, "-m", "chandlery.server"],
            "/v2/health/ready",
            "/v2/models/digits/infer",
            {"inputs": [tensor]},
            ROOT,
            {
                "MODEL_URI": str(folder / "package"),
                "PREDICTIVE_UNIT_ID": "digits",
                "PREDICTOR_ID": "v1",
                "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": "{port}",
            },
        ),
        Server(
            "mlflow models serve",
            [
                str(bin_folder / "mlflow"),
                *("models", "serve", "--model-uri", str(folder / "mlflow"), "--host", "127.0.0.1"),
                *("--port", "{port}", "--env-manager", "local", "--workers", "1"),
            ],
            "/ping",
            "/invocations",
            {"inputs": [ROW]},
            folder,
            peer,
        ),
        Server(
            "MLServer, MLflow runtime",
            [str(bin_folder / "mlserver"), "start", str(mlserver)],
            "/v2/health/ready",
            "/v2/models/digits/infer",
            {"parameters": {"content_type": "np"}, "inputs": [tensor]},
            folder,
            peer
            | {
                "MLSERVER_HTTP_PORT": "{port}",
                "MLSERVER_GRPC_PORT": str(_free_port()),
                "MLSERVER_METRICS_PORT": str(_free_port()),
            },
        ),
    ]


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


def _peers() -> Path:
    """Return the Python of the peers' environment, installed when it is not there."""
    uv = shutil.which("uv") or shutil.which("uv", path=ROOT / ".tools" / "bin")
    if uv is None:
        raise RuntimeError("uv, which makes the environment of the peers, is neither on PATH nor in .tools")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "chandlery-benchmarks" / "peers"
    subprocess.run(
        [uv, "sync", "--quiet", "--frozen", "--project", str(PEERS)],
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(folder)},
        check=True,
        timeout=900,
    )
    return folder / "bin" / "python"


def _ready(process: subprocess.Popen[bytes], address: str) -> bool:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(address, timeout=2) as response,
        ):
            if response.status == 200:
                return True
        time.sleep(0.2)
    return False


def _table(measured: dict[str, dict[int, list[Measured]]]) -> str:
    heads = " | ".join(f"c={c}: req/s, p50/p99 ms, times ours" for c in CONNECTIONS)
    lines = [f"| server (load: {generator()}) | {heads} |", "|---" * (1 + len(CONNECTIONS)) + "|"]
    for name, by in measured.items():
        cells = []
        for connections, figures in by.items():
            rate = statistics.median(m.rate for m in figures)
            ours = statistics.median(m.rate for m in measured[OURS][connections])
            bad = sum(m.bad for m in figures)
            cells.append(
                f"{rate:.0f} [{min(m.rate for m in figures):.0f}-{max(m.rate for m in figures):.0f}], "
                f"{statistics.median(m.p50 for m in figures):.1f}/{statistics.median(m.p99 for m in figures):.1f}, "
                f"1/{ours / rate:.0f}" + (f", {bad} bad" if bad else "")
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
