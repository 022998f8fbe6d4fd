"""Four networks of different kinds behind our server, beside stock servers and the limits: see `benchmarks.serving`."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import environment
from benchmarks.harness import BEST_PEER, LIMIT, NEAREST_LIMIT, OURS, PEER, Aim, Contender, Row, Setting
from benchmarks.serving import (
    CONNECTIONS,
    ECHO,
    IN_PROCESS,
    INFER,
    MLFLOW,
    MLSERVER,
    READY,
    ROOT,
    SECONDS,
    Server,
    in_process,
    loaded,
    mlserver,
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


def _contenders(network: str, setting: Setting) -> list[Contender]:
    class_name, _, shape = NETWORKS[network]
    folder, seconds = setting.scratch, 1.0 if setting.quick else SECONDS
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
    row = np.round(np.resize(np.arange(17) / 17, (1, *shape)), 4)
    tensor = {"name": "x", "shape": [1, *shape], "datatype": "FP32", "data": row.ravel().tolist()}
    ours = Server(
        [sys.executable, "-m", "chandlery.inference"],
        READY,
        INFER,
        {"inputs": [tensor]},
        folder,
        {
            "MODEL_URI": str(folder / "package"),
            "PREDICTIVE_UNIT_ID": "digits",
            "PREDICTOR_ID": "v1",
            "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": "{port}",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "CHANDLERY_HOME": str(folder / "home"),
            "CHANDLERY_REQUEST_LOG": str(folder / "log"),
        },
    )
    echo = Server(
        [sys.executable, "-m", "benchmarks.echo", "{port}"],
        READY,
        INFER,
        {"inputs": [tensor]},
        folder,
        {"PYTHONPATH": str(ROOT)},
    )
    limits = [
        Contender("chandlery", OURS, partial(loaded, ours, seconds)),
        Contender(ECHO, LIMIT, partial(loaded, echo, seconds)),
        Contender(IN_PROCESS, LIMIT, partial(in_process, folder, seconds)),
    ]
    return limits + _peers(folder, tensor, row, seconds)


def _peers(folder: Path, tensor: dict[str, Any], row: np.ndarray, seconds: float) -> list[Contender]:
    peers = environment("peers")
    tracking = {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "MLFLOW_TRACKING_URI": (folder / "tracking").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "PATH": peers.variables()["PATH"],
    }
    mlflow = Server(
        [
            *(str(peers.bin / "mlflow"), "models", "serve", "--model-uri", str(folder / "mlflow")),
            *("--host", "127.0.0.1", "--port", "{port}", "--env-manager", "local", "--workers", "1"),
        ],
        "/ping",
        "/invocations",
        {"inputs": row.tolist()},
        folder,
        tracking,
    )
    served = mlserver(folder, str(peers.bin / "mlserver"), tracking, tensor)
    return [
        Contender(MLSERVER, PEER, partial(loaded, served, seconds), peers.versions("mlserver", "mlflow")),
        Contender(MLFLOW, PEER, partial(loaded, mlflow, seconds), peers.versions("mlflow")),
    ]


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


ROWS = tuple(
    Row(
        f"serving-{network}",
        f"prediction, {what}, one row a request",
        contenders=partial(_contenders, network),
        figures=prediction_figures(),
        aims=(
            *(Aim(f"rate c={c}", at_least=5, against=BEST_PEER) for c in CONNECTIONS),
            *(Aim(f"rate c={c}", at_least=0.6, against=NEAREST_LIMIT) for c in CONNECTIONS),
        ),
        notes="The load generator shares the cores. Ours keeps its request log and metrics on, and takes the runtime that "
        "training found faster (LiteRT but for the LSTM). In process: TensorFlow, a batch of as many rows as connections.",
    )
    for network, (_, what, _) in NETWORKS.items()
)
