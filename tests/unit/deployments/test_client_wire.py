"""What goes over the wire, and what is made of what comes back; no server needed."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import orjson
import pytest

from chandlery.deployments.client import DeploymentAddress, Endpoint, _Wire, curl_line
from chandlery.errors import ServingError, UserError

ROWS = {"x": np.array([[1.5, 2], [3, 4]], dtype="float32"), "city": np.array(["Oslo", "Ulm"])}


def test_v1_request_is_json_data_by_column() -> None:
    body = orjson.loads(_Wire(DeploymentAddress("http://h:1", "ns", "d", "seldon", "")).encode(ROWS))
    assert body == {"jsonData": {"x": [[1.5, 2.0], [3.0, 4.0]], "city": ["Oslo", "Ulm"]}}


def test_v2_request_is_one_flat_tensor_a_column() -> None:
    body = orjson.loads(_Wire(DeploymentAddress("http://h:1", "ns", "d", "v2", "m")).encode(ROWS))
    assert body["inputs"] == [
        {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1.5, 2.0, 3.0, 4.0]},
        {"name": "city", "shape": [2], "datatype": "BYTES", "data": ["Oslo", "Ulm"]},
    ]


@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        (
            "v2",
            {
                "outputs": [
                    {"name": "digit", "shape": [2], "datatype": "INT64", "data": [3, 4]},
                    {"name": "p", "shape": [2, 2], "datatype": "FP32", "data": [0.1, 0.9, 0.5, 0.5]},
                ]
            },
        ),
        ("seldon", {"jsonData": {"digit": [3, 4], "p": [[0.1, 0.9], [0.5, 0.5]]}}),
    ],
)
def test_answers_come_back_as_columns(protocol: str, body: dict[str, object]) -> None:
    wire = _Wire(DeploymentAddress("http://h:1", "ns", "d", protocol, "m"))
    headers = {"x-seldon-route": "v3", "x-model-version": "3", "x-request-id": "r"}
    answer = wire.answer(200, headers, orjson.dumps(body), "mine", 0.1)
    assert (answer.route, answer.version, answer.request_id, answer.ok) == ("v3", "3", "r", True)
    assert answer.answers["digit"].tolist() == [3, 4]
    assert np.allclose(answer.answers["p"], [[0.1, 0.9], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"names": ["a", "b"], "ndarray": [[1, 2.5], [3, 4.5]]}, {"a": [1, 3], "b": [2.5, 4.5]}),
        ({"names": ["y"], "ndarray": [1, 2]}, {"y": [1, 2]}),
        (
            {"names": ["p:0", "p:1"], "tensor": {"shape": [1, 2], "values": [0.2, 0.8]}},
            {"p:0": [0.2], "p:1": [0.8]},
        ),
        ({"ndarray": [[1], [2]]}, {"output": [[1], [2]]}),
    ],
)
def test_seldon_data_forms(data: dict[str, object], expected: dict[str, object]) -> None:
    answer = _Wire(DeploymentAddress("http://h:1", "n", "d", "seldon", "")).answer(
        200, {}, orjson.dumps({"data": data}), "r", 0.0
    )
    assert {name: values.tolist() for name, values in answer.answers.items()} == expected


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            b'{"status": {"code": 400, "info": "expected x: float32[n, 2]", "status": "FAILURE"}}',
            "expected x",
        ),
        (b'{"error": "queue full"}', "queue full"),
        (b"no healthy upstream", "no healthy upstream"),
        (b"\xff\xfe", ""),
    ],
)
def test_errors_are_told_and_do_not_raise(body: bytes, error: str) -> None:
    answer = _Wire(DeploymentAddress("http://h:1", "n", "d", "seldon", "")).answer(503, {}, body, "r", 0.0)
    assert error in answer.error
    assert not answer.ok
    assert answer.answers == {}


def test_feedback_says_who_answered() -> None:
    wire = _Wire(DeploymentAddress("http://h:1", "n", "d", "seldon", ""))
    answer = wire.answer(
        200,
        {"x-seldon-route": "v3", "x-request-id": "r7"},
        b'{"jsonData": {"digit": [3]}, "meta": {"tags": {"a": 1}}}',
        "",
        0.0,
    )
    body = orjson.loads(wire.feedback_body(answer, np.array([4]), None))
    assert body["response"]["meta"] == {"puid": "r7", "tags": {"a": 1, "predictor": "v3"}}
    assert body["response"]["jsonData"] == {"digit": [3]}
    assert body["truth"] == {"data": {"ndarray": [4]}}
    assert "reward" not in body
    several = orjson.loads(wire.feedback_body(answer, {"digit": np.array([4]), "ink": 0.5}, None))
    assert several["truth"] == {"jsonData": {"digit": [4], "ink": [0.5]}}
    assert orjson.loads(wire.feedback_body(answer, None, 0.0))["reward"] == 0.0


def test_unreachable_gateway_is_a_two_line_error() -> None:
    with pytest.raises(ServingError, match="cannot be reached") as caught:
        Endpoint(DeploymentAddress("http://127.0.0.1:9", "n", "d")).predict(ROWS)
    assert "chandlery up" in caught.value.hint


@pytest.mark.parametrize(
    ("gateway", "protocol"), [("127.0.0.1:80", "seldon"), ("http://h", "grpc"), ("http://h", "v2")]
)
def test_wrong_use_is_refused(gateway: str, protocol: str) -> None:
    with pytest.raises(UserError):
        Endpoint(DeploymentAddress(gateway, "n", "d", protocol))


def test_curl_line_quotes_what_the_shell_would_eat() -> None:
    rows = {"name": np.array(["O'Hara $HOME"])}
    line = curl_line(DeploymentAddress("http://h:1", "ns", "d"), rows, Path("unused"))
    assert line.startswith("curl -s http://h:1/seldon/ns/d/api/v1.0/predictions -H ")
    assert orjson.loads(shlex.split(line)[-1]) == {"jsonData": {"name": ["O'Hara $HOME"]}}


def test_curl_line_is_json_whatever_the_row_holds() -> None:
    rows = {
        "missing": np.array([np.nan, np.inf], dtype="float32"),
        "note": np.array(["a\x1b[31mred\u202e \x7f", "Zürich 東京"]),
        "flag": np.array([True, False]),
    }
    line = curl_line(DeploymentAddress("http://h:1", "ns", "d"), rows, Path("unused"))
    assert line.isprintable()
    assert "Zürich 東京" in line
    assert orjson.loads(shlex.split(line)[-1])["jsonData"] == {
        "missing": [None, None],
        "note": rows["note"].tolist(),
        "flag": [True, False],
    }


@pytest.mark.parametrize("protocol", ["seldon", "v2"])
def test_a_long_request_is_in_a_file_that_the_line_refers_to(tmp_path: Path, protocol: str) -> None:
    address = DeploymentAddress("http://h:1", "ns", "d", protocol, "m")
    rows = {"pixels": np.linspace(0, 1, 4000, dtype="float32").reshape(1, 4000)}
    folder = tmp_path / "it's a home/ü"
    line = curl_line(address, rows, folder)
    assert len(line) < 500
    at = shlex.split(line)[-1]
    assert at == f"@{folder / 'd.json'}"
    assert orjson.loads(Path(at[1:]).read_bytes()) == orjson.loads(_Wire(address).encode(rows))
    assert [path.name for path in folder.iterdir()] == ["d.json"], "nothing half-written stays"
