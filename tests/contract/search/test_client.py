"""Our Experiments are what kubeflow-katib's own client reads and writes. It lives in an environment of its own: it asks for
protobuf<5, which nothing else here can be installed with.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from chandlery.provenance import Provenance
from chandlery.search.document import SearchRequest, build_experiment
from tests.loading import ROOT

CLIENT = (
    "kubeflow-katib==0.19.0",
    "kubernetes<31",
)  # a later kubernetes has types that the client cannot read
SECONDS = 300
PRESETS = sorted((ROOT / "katib").glob("*.yaml"))
_ROUND_TRIP = """
import json, sys
from kubeflow.katib import ApiClient

class Response:
    data = sys.stdin.read()

client = ApiClient()
found = client.deserialize(Response, "V1beta1Experiment")
json.dump(client.sanitize_for_serialization(found), sys.stdout)
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("katib client")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True, timeout=SECONDS)
    python = folder / "venv" / "bin" / "python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", *CLIENT],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        pytest.skip(
            f"{CLIENT[0]} cannot be installed, so there is no client to compare with: {done.stderr[-200:]}"
        )
    return str(python)


def without_nothing(value: Any) -> Any:
    """Drop what says nothing: the client leaves out null and empty."""
    if isinstance(value, dict):
        kept = {name: without_nothing(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item not in (None, {}, [])}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(
    ("algorithm", "recipe"),
    [
        *((path.stem, "digits/recipe.py:Digits") for path in PRESETS if path.stem not in ("grid", "cmaes")),
        ("grid", "orders/recipe.py:XGBoostOrders"),  # a grid takes whole numbers, or steps
        ("cmaes", "shapes/recipe.py:Shapes"),  # and CMA-ES numbers alone
    ],
)
def test_the_client_reads_and_writes_the_same_experiment(client: str, algorithm: str, recipe: str) -> None:
    request = SearchRequest(
        recipe=f"{ROOT}/examples/{recipe}",
        repo="data",
        commit="c0ffee",
        algorithm=algorithm,
        fixed={"epochs": 3},
    )
    document = build_experiment(request, Provenance(run_id="run-1", task="tune"), namespace="default")
    done = subprocess.run(
        [client, "-c", _ROUND_TRIP],
        input=json.dumps(document),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1500:]
    assert without_nothing(json.loads(done.stdout)) == without_nothing(document)
