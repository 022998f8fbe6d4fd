"""Four networks of different kinds behind our server, beside stock servers and the limits: see `benchmarks.serving`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.environment import Environment, environment
from benchmarks.harness import (
    BEST_PEER,
    LIMIT,
    NEAREST_LIMIT,
    OURS,
    PEER,
    Aim,
    Contender,
    Figures,
    Row,
    Run,
    Setting,
)
from benchmarks.serving import (
    CONNECTIONS,
    ECHO,
    IN_PROCESS,
    MLFLOW,
    MLSERVER,
    ROOT,
    SECONDS,
    WARM_UP_SECONDS,
    Server,
    echo_server,
    in_process,
    loaded,
    mlflow_serve,
    mlserver,
    named,
    ours,
    prediction_figures,
)

RECIPES = ROOT / "benchmarks" / "recipes" / "models.py"
NETWORKS = {
    "small": ("Small", "one hidden layer of 64", (64,)),
    "wide": ("Wide", "three hidden layers of 1,024", (64,)),
    "lstm": ("Recurrent", "an LSTM of 64 over 100 steps", (100, 8)),
    "cnn": ("Convolutional", "two convolutions over 32 x 32 x 3", (32, 32, 3)),
}
CHECKED_ROWS = 64
LARGE_ROWS = 1000
LITSERVE, BENTOML = "LitServe", "BentoML"
PARSED = "parse the JSON, call TensorFlow"
CALLED = "call TensorFlow"


def _contenders(network: str, setting: Setting) -> list[Contender]:
    class_name, _, shape = NETWORKS[network]
    folder, seconds = setting.scratch, 1.0 if setting.quick else SECONDS
    _write(class_name, folder)
    row = np.round(np.resize(np.arange(17) / 17, (1, *shape)), 4)
    tensor = {"name": "x", "shape": [1, *shape], "datatype": "FP32", "data": row.ravel().tolist()}
    peers, own = environment("peers"), environment("peers-serving")
    return [
        Contender("chandlery", OURS, partial(loaded, ours(folder, tensor), seconds)),
        Contender(ECHO, LIMIT, partial(loaded, echo_server(folder, tensor), seconds)),
        Contender(IN_PROCESS, LIMIT, partial(in_process, folder, seconds)),
        Contender(
            MLSERVER,
            PEER,
            partial(loaded, mlserver(folder, peers, tensor), seconds),
            peers.versions("mlserver", "mlflow"),
        ),
        Contender(
            MLFLOW,
            PEER,
            partial(loaded, mlflow_serve(folder, peers, row.tolist()), seconds),
            peers.versions("mlflow"),
        ),
        Contender(
            LITSERVE, PEER, partial(loaded, litserve(folder, own, row), seconds), own.versions("litserve")
        ),
        Contender(
            BENTOML, PEER, partial(loaded, bentoml(folder, own, row), seconds), own.versions("bentoml")
        ),
    ]


def litserve(folder: Path, peers: Environment, row: np.ndarray) -> Server:
    """Return a LitServe around the Keras model of a folder, asked with a row."""
    app = ROOT / "benchmarks" / "peers-serving" / "litserve_app.py"
    return Server(
        [str(peers.python), str(app), str(folder / "mlflow" / "data" / "model.keras"), "{port}"],
        "/health",
        "/predict",
        {"rows": row.tolist()},
        folder,
        {"TF_CPP_MIN_LOG_LEVEL": "2"},
    )


def bentoml(folder: Path, peers: Environment, row: np.ndarray) -> Server:
    """Return a BentoML around the Keras model of a folder, asked with a row."""
    apps = ROOT / "benchmarks" / "peers-serving"
    return Server(
        [
            *(str(peers.bin / "bentoml"), "serve", "bentoml_app:Model"),
            *("--working-dir", str(apps), "--host", "127.0.0.1", "--port", "{port}"),
        ],
        "/readyz",
        "/predict",
        {"rows": row.tolist()},
        folder,
        {
            "MODEL": str(folder / "mlflow" / "data" / "model.keras"),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "BENTOML_DO_NOT_TRACK": "true",
            "PATH": peers.variables()["PATH"],
        },
    )


def _large(form: str, setting: Setting) -> list[Contender]:
    """One request of 1,000 rows of 100 numbers, as JSON or as raw tensors."""
    folder, seconds = setting.scratch, 1.0 if setting.quick else SECONDS
    _write("Hundred", folder)
    rows = np.round(np.resize(np.arange(17) / 17, (LARGE_ROWS, 100)), 4).astype("<f4")
    tensor = {"name": "x", "shape": [LARGE_ROWS, 100], "datatype": "FP32"}
    document = {"inputs": [{**tensor, "data": np.round(rows, 4).astype(float).ravel().tolist()}]}
    server = ours(folder, document["inputs"][0])
    text = json.dumps(document).encode()
    if form == "raw":
        raw = rows.tobytes()
        head = json.dumps(
            {
                "inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}],
                "parameters": {"binary_data_output": True},
            }
        ).encode()
        headers = {
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(len(head)),
        }
        server = replace(server, body=head + raw, headers=headers)
    (folder / "request.json").write_bytes(text)
    return [
        Contender("chandlery", OURS, partial(loaded, server, seconds)),
        Contender(PARSED if form == "json" else CALLED, LIMIT, partial(_called, folder, form, seconds)),
    ]


@contextmanager
def _called(folder: Path, form: str, seconds: float) -> Iterator[Run]:
    """Parse the request and call TensorFlow, or only call it, in a process of its own, one after another."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.large_request", str(folder), form],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        text=True,
    )

    def run(number: int) -> Figures:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{seconds if number else WARM_UP_SECONDS}\n")
        process.stdin.flush()
        measured = json.loads(process.stdout.readline())
        return {name: value for c in CONNECTIONS for name, value in named(c, *measured).items()}

    try:
        yield run
    finally:
        process.kill()
        process.wait()


def _write(class_name: str, folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from benchmarks.models import write;"
        " write(sys.argv[1], Path(sys.argv[2]))"
    )
    subprocess.run(
        [sys.executable, "-c", program, class_name, str(folder)],
        check=True,
        cwd=ROOT,
        timeout=300,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )


def write(class_name: str, folder: Path) -> None:
    """Write a network as our model package (`package`) and as MLflow's own format (`mlflow`).

    Args:
        class_name: its recipe.
        folder: where both go.
    """
    import keras
    import mlflow

    from chandlery.model import save_model
    from chandlery.provenance import Provenance
    from chandlery.recipe import load_recipe

    keras.utils.set_random_seed(1)
    recipe = load_recipe(f"{RECIPES}:{class_name}")
    shape = recipe.recipe.inputs()[0].shape
    features = np.random.default_rng(0).normal(size=(CHECKED_ROWS, *shape)).astype("float32")
    model = recipe.recipe.build({}, features)
    save_model(
        folder / "package",
        model,
        recipe,
        {},
        {},
        Provenance(),
        features=features[:1],
        validation=features,
        example={"x": features[:1]},
    )
    mlflow.tensorflow.save_model(
        model,
        str(folder / "mlflow"),
        signature=mlflow.models.infer_signature(features, model.predict(features, verbose=0)),
    )


LARGE = tuple(
    Row(
        f"serving-{form}",
        f"prediction, {LARGE_ROWS:,} rows of 100 numbers a request, {what}",
        contenders=partial(_large, form),
        figures=prediction_figures(),
        aims=tuple(Aim(f"rate c={c}", at_least=least, against=limit) for c in CONNECTIONS),
        notes="The limit is one process that does it over and over, one after another, at all numbers of connections.",
    )
    for form, what, limit, least in (
        ("json", "as JSON", PARSED, 0.6),
        ("raw", "as a raw tensor", CALLED, 0.8),
    )
)
ROWS = LARGE + tuple(
    Row(
        f"serving-{network}",
        f"prediction, {what}, one row a request",
        contenders=partial(_contenders, network),
        figures=prediction_figures(),
        aims=(
            *(Aim(f"rate c={c}", at_least=5, against=BEST_PEER) for c in CONNECTIONS),
            *(Aim(f"rate c={c}", at_least=0.6, against=NEAREST_LIMIT) for c in CONNECTIONS),
            *(
                Aim(f"p99 c={c}", at_most=1, against=peer, text=f"p99 below {peer}")
                for c in CONNECTIONS
                for peer in (MLSERVER, MLFLOW, LITSERVE, BENTOML)
            ),
        ),
        notes="The load generator shares the cores. Ours keeps its request log and metrics on, and takes the runtime that "
        "training found faster (LiteRT but for the LSTM). In process: TensorFlow, a batch of as many rows as connections.",
    )
    for network, (_, what, _) in NETWORKS.items()
)
