"""Protects: unmodified clients predict, read metadata and health, and get a message that they can show."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from chandlery.cli.client import snippet

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


def test_the_description_is_openapi(ask):
    assert ask("openapi")["errors"] == []


@pytest.mark.parametrize("language", ["python", "curl", "typescript"])
def test_the_code_that_the_command_prints_works(serve, tmp_path, language):
    """A hostile row too: texts with quotes, dollars and line ends are data in every language."""
    base = serve("Words")
    rows = [{"text": 'it\'s "$HOME" `x`\\n\n\u2028</script> ä😀'}]
    code = snippet(language, base, rows)
    if language == "typescript":
        node = shutil.which("node")
        if node is None:
            pytest.skip("node is not installed")
        file = tmp_path / "ask.mjs"  # the snippet is JavaScript as well
        file.write_text(code, encoding="utf-8")
        command = [node, str(file)]
    else:
        command = ["sh", "-c", code] if language == "curl" else [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert f"{len(rows[0]['text'])}" in found.stdout, found.stdout
