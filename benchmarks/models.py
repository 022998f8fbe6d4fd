"""Four networks of different kinds behind our server, beside stock servers and the limits: see `benchmarks.serving`."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.environment import environment
from benchmarks.harness import BEST_PEER, LIMIT, NEAREST_LIMIT, OURS, PEER, Aim, Contender, Row, Setting
from benchmarks.serving import (
    CONNECTIONS,
    ECHO,
    IN_PROCESS,
    MLFLOW,
    MLSERVER,
    ROOT,
    SECONDS,
    echo_server,
    in_process,
    loaded,
    mlflow_serve,
    mlserver,
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
    peers = environment("peers")
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
