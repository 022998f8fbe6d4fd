"""Protects: the binary tensor extension is read and written as the protocol says, and what does not fit is refused."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from chandlery.inference.binary import RAW_TYPES, read_raw, write_raw
from chandlery.inference.model import DATATYPES
from chandlery.inference.refusal import Refused

INFER = "/v2/models/flights/infer"
LENGTH = "inference-header-content-length"


def texts(*values):
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def entry(name, datatype, raw, shape):
    return {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(raw)},
    }, raw


def flights(**changes):
    inputs = {
        "airport": entry("airport", "BYTES", texts(b"HAM", b"LEJ"), [2]),
        "hour": entry("hour", "INT64", struct.pack("<2q", 7, 8), [2, 1]),
        "wind": entry("wind", "FP64", struct.pack("<2d", 0.5, 30.25), [2]),
    } | changes
    return [*inputs.values()]


def post(client, inputs, length=None, tail=b"", **fields):
    head = json.dumps({"inputs": [described for described, _ in inputs]} | fields).encode()
    body = head + b"".join(raw for _, raw in inputs) + tail
    return client.post(INFER, content=body, headers={LENGTH: str(len(head) if length is None else length)})


def parts(answer):
    """Return the JSON of a binary answer, and its raw tensors by name."""
    length = int(answer.headers[LENGTH])
    document = json.loads(answer.content[:length])
    raw, found = answer.content[length:], {}
    for output in document["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size", 0)
        found[output["name"]], raw = raw[:size], raw[size:]
    assert not raw
    return document, found


def test_raw_tensors_in_and_json_out(make_client):
    answer = post(make_client(), flights())
    assert answer.status_code == 200, answer.text
    assert LENGTH not in answer.headers
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["outputs"][0]["data"] == [8.5, 38.25]


def test_raw_tensors_both_ways(make_client):
    answer = post(make_client(), flights(), parameters={"binary_data_output": True})
    assert answer.headers["content-type"] == "application/octet-stream"
    document, raw = parts(answer)
    assert document["outputs"] == [
        {"name": "minutes", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
        {"name": "late", "shape": [2], "datatype": "BOOL", "parameters": {"binary_data_size": 2}},
    ]
    assert raw == {"minutes": struct.pack("<2f", 8.5, 38.25), "late": b"\0\1"}


def test_one_output_raw_and_another_json(make_client):
    outputs = [{"name": "late"}, {"name": "minutes", "parameters": {"binary_data": True}}]
    document, raw = parts(post(make_client(), flights(), outputs=outputs))
    assert document["outputs"][0] == {"name": "late", "shape": [2], "datatype": "BOOL", "data": [False, True]}
    assert raw["minutes"] == struct.pack("<2f", 8.5, 38.25)
    outputs = [{"name": "late", "parameters": {"binary_data": False}}]
    answer = post(make_client(), flights(), outputs=outputs, parameters={"binary_data_output": True})
    assert answer.json()["outputs"][0]["data"] == [False, True]


def test_raw_and_json_inputs_and_a_json_request_for_raw_answers(make_client):
    client = make_client()
    plain = ({"name": "hour", "datatype": "INT64", "shape": [2], "data": [7, 8]}, b"")
    assert post(client, flights(hour=plain)).json()["outputs"][0]["data"] == [8.5, 38.25]
    sent = {
        "inputs": [
            {"name": "airport", "datatype": "BYTES", "shape": [1], "data": ["HAM"]},
            {"name": "hour", "datatype": "INT64", "shape": [1], "data": [7]},
            {"name": "wind", "datatype": "FP64", "shape": [1], "data": [0.5]},
        ],
        "parameters": {"binary_data_output": True},
    }
    _, raw = parts(client.post(INFER, json=sent))
    assert raw["minutes"] == struct.pack("<f", 8.5)


def test_texts_come_back_with_their_lengths(make_client):
    client = make_client("Scan")
    pixels = entry("pixels", "FP32", np.full((2, 2, 2), 16, "<f4").tobytes(), [2, 2, 2])
    document, raw = parts(post(client, [pixels], parameters={"binary_data_output": True}))
    assert document["outputs"][0]["datatype"] == "BYTES"
    assert raw["label"] == texts(b"light", b"light")


@pytest.mark.parametrize(
    ("datatype", "raw"), [("FP16", np.full(4, 16, "<f2").tobytes()), ("BF16", b"\x80\x41" * 4)]
)
def test_half_precision(make_client, datatype, raw):
    answer = post(make_client("Scan"), [entry("pixels", datatype, raw, [1, 2, 2])])
    assert answer.json()["outputs"][1]["data"] == [1.0, 1.0], answer.text


@pytest.mark.parametrize("datatype", sorted(set(RAW_TYPES) - {"BF16", "BOOL"}))
def test_every_type_survives(datatype):
    names = {datatype: name for name, datatype in DATATYPES.items()}
    dtype = np.dtype(names[datatype])
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    values = np.array([limits.min, 0, 1, limits.max], dtype).reshape(2, 2)
    raw = write_raw(values)
    assert raw == values.astype(dtype.newbyteorder("<")).tobytes()
    found = read_raw(memoryview(raw), datatype, [2, 2], "x")
    assert found.dtype == dtype
    assert np.array_equal(found, values)


def test_texts_and_booleans_survive():
    values = np.array(["", "HAM", "ä😀\n"], object)
    assert read_raw(memoryview(write_raw(values)), "BYTES", [3], "x").tolist() == values.tolist()
    assert read_raw(memoryview(b"\0\1\2"), "BOOL", [3], "x").tolist() == [False, True, True]
    assert read_raw(memoryview(b"\x80\x3f\x00\xc0"), "BF16", [2], "x").tolist() == [1.0, -2.0]


@pytest.mark.parametrize(
    ("inputs", "fields", "says"),
    [
        (flights(hour=entry("hour", "INT64", b"1234567", [2])), {}, "has 7 bytes; INT64 of shape [2] has 16"),
        (flights(hour=entry("hour", "INT64", b"", [2**31 - 1] * 32)), {}, "has 0 bytes"),
        (flights(airport=entry("airport", "BYTES", b"", [2**31 - 1] * 3)), {}, "too few for"),
        (flights(airport=entry("airport", "BYTES", texts(b"HAM") + b"\xff" * 4, [2])), {}, "text 1 is longer"),
        (flights(airport=entry("airport", "BYTES", texts(b"HAM", b"\xff"), [2])), {}, "text 1 is not UTF-8"),
        (flights(airport=entry("airport", "BYTES", texts(b"HAM", b"LEJ") + b"x", [2])), {}, "1 bytes after its 2"),
        (flights(airport=entry("airport", "BYTES", texts(b"HAM\0", b"LEJ"), [2])), {}, "NUL"),
        (flights(wind=entry("wind", "FP64", struct.pack("<2d", 1, np.inf), [2, 1])), {"id": 3}, "id is not text"),
        (flights(hour=entry("hour", "INT64", struct.pack("<3q", 7, 8, 9), [3])), {}, "3 rows where others have 2"),
    ],
)  # fmt: skip
def test_refusals(make_client, inputs, fields, says):
    answer = post(make_client(), inputs, **fields)
    assert (answer.status_code, says in answer.json()["error"]) == (400, True), answer.text


@pytest.mark.parametrize("size", [-1, 10**9, 3.0, "8", None, True])
def test_sizes_that_are_none(make_client, size):
    inputs = flights()
    inputs[1][0]["parameters"]["binary_data_size"] = size
    answer = post(make_client(), inputs)
    assert (answer.status_code, "binary_data_size" in answer.json()["error"]) == (400, True), answer.text


@pytest.mark.parametrize("length", ["0", "-1", "99999", "1e3", "", "²", "9" * 5000])
def test_lengths_that_are_none(make_client, length):
    answer = make_client().post(INFER, content=b'{"inputs": []}', headers={LENGTH.encode(): length.encode()})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(LENGTH)


def test_bytes_that_belong_to_no_input(make_client):
    answer = post(make_client(), flights(), tail=b"abc")
    assert (answer.status_code, answer.json()["error"][:31]) == (400, "3 bytes after the JSON belong t")


def test_read_raw_makes_nothing_for_a_shape_that_lies():
    with pytest.raises(Refused):
        read_raw(memoryview(b"1234"), "BYTES", [2**31 - 1] * 32, "x")
