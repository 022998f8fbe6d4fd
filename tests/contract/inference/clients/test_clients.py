"""Protects: unmodified clients predict, read metadata and health, and get a message that they can show."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.network]

CLIENTS = ["triton", "triton_rpc", "mlserver", "kserve", "kserve_rpc", "seldon"]
MINUTES = [8.5, 38.25]


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_predicts_in_every_form_that_it_has(ask, client):
    answers = ask(client)["predictions"]
    assert len(answers) >= 2
    assert answers == dict.fromkeys(answers, MINUTES)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_reads_health_and_metadata(ask, client):
    said = ask(client)
    assert (said["live"], said["ready"], said["model ready"]) == (True, True, True)
    assert said["inputs"] == ["airport", "hour", "wind"]


@pytest.mark.parametrize(
    ("client", "says"),
    [
        ("triton", "'hour' has 3 rows where others have 2"),
        ("triton_rpc", "'hour' has 3 rows where others have 2"),
        ("mlserver", "missing 'wind'"),
        ("kserve_rpc", "'hour' has 3 rows where others have 2"),
        ("kserve", "'hour' has 3 rows where others have 2"),
        ("seldon", "expected [n, 3]"),
    ],
)
def test_a_client_gets_a_message_that_it_can_show(ask, client, says):
    _, message = ask(client)["refused"]
    assert says in message


def test_mlserver_sends_columns_of_one(ask):
    assert ask("mlserver")["shapes"] == [[2, 1]] * 3


def test_triton_reads_the_repository_and_may_not_load(ask):
    said = ask("triton")
    assert said["index"] == [{"name": "flights", "version": "3", "state": "READY", "reason": ""}]
    assert "binary_tensor_data" in said["server"]
    assert "neither loads nor unloads models" in said["load"][1]


def test_seldons_client_sends_feedback(ask):
    assert ask("seldon")["feedback"] is True


def test_curl(serve):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    base = serve("Flights")

    def run(path, *options):
        found = subprocess.run(
            [curl, "-sS", "--compressed", base + path, *options], capture_output=True, check=True
        )
        return json.loads(found.stdout)

    rows = {"dataframe_split": {"columns": ["airport", "hour", "wind"], "data": [["HAM", 7, 0.5]]}}
    kind = ["-H", "content-type: application/json", "-d"]
    assert run("/invocations", *kind, json.dumps(rows)) == {"predictions": [{"minutes": 8.5, "late": False}]}
    rows["dataframe_split"]["data"] = [["HAM", 7, 0.5]] * 2000
    assert len(run("/invocations", *kind, json.dumps(rows))["predictions"]) == 2000  # packed on its way
    assert run("/v2/models/flights")["name"] == "flights"
    assert "missing 'airport'" in run("/invocations", *kind, '{"inputs": {"hour": [1]}}')["message"]
