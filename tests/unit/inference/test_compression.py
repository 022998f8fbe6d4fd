"""Protects: packed bodies are taken and given within the limit of plain ones."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib

import pytest

from chandlery.inference.compression import choose

PREDICTIONS = "/api/v1.0/predictions"
ROW = {"jsonData": {"airport": ["HAM"], "hour": [7], "wind": [0.5]}}
MANY = {"jsonData": {"airport": ["HAM"] * 4000, "hour": [7] * 4000, "wind": [0.5] * 4000}}


def bare(body):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(body) + packer.flush()


def send(client, body, encoding):
    headers = {"content-encoding": encoding, "content-type": "application/json"}
    return client.post(PREDICTIONS, content=body, headers=headers)


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", bare),
        ("identity", bytes),
        ("", bytes),
    ],
)
def test_packed_requests(make_client, encoding, pack):
    answer = send(make_client(), pack(json.dumps(ROW).encode()), encoding)
    assert (answer.status_code, answer.json().get("jsonData", {}).get("minutes")) == (200, [8.5])


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, deflate", "x" * 500])
def test_other_encodings(make_client, encoding):
    answer = send(make_client(), b"{}", encoding)
    assert answer.status_code == 415
    assert "send gzip, deflate or identity" in answer.json()["status"]["info"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        gzip.compress(b"{}", mtime=0)[:-3],
        gzip.compress(b"{}", mtime=0) + b"more",
        gzip.compress(b"{}", mtime=0) * 2,
        b"\x1f\x8b" * 9,
    ],
)
def test_what_is_not_packed_so(make_client, body):
    answer = send(make_client(), body, "gzip")
    assert (answer.status_code, answer.json()["status"]["status"]) == (400, "FAILURE")


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, bare], ids=["gzip", "zlib", "bare"])
def test_a_bomb_takes_no_memory(make_client, pack):
    """100 MB in 100 kB."""
    client = make_client(max_body=1_000_000)
    bomb = pack(b" " * 100_000_000)
    assert len(bomb) < 200_000
    tracemalloc.start()
    answer = send(client, bomb, "gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.status_code == 413
    assert "larger than 1000000 bytes unpacked" in answer.json()["status"]["info"]
    assert peak < 5_000_000


def test_the_limit_holds_before_unpacking_too(make_client):
    client = make_client(max_body=1000)
    assert send(client, b"x" * 2000, "gzip").status_code == 413
    exact = json.dumps(ROW).encode().ljust(1000)
    assert send(client, gzip.compress(exact), "gzip").status_code == 200
    assert send(client, gzip.compress(exact + b" "), "gzip").status_code == 413


@pytest.mark.parametrize(("accepted", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_packed_answers(make_client, accepted, unpack):
    client = make_client()
    with client.stream("POST", PREDICTIONS, json=MANY, headers={"accept-encoding": accepted}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == accepted
    assert answer.headers["vary"] == "accept-encoding"
    assert int(answer.headers["content-length"]) == len(raw) < 5000
    assert json.loads(unpack(raw))["jsonData"]["minutes"] == [8.5] * 4000


def test_answers_that_are_not_packed(make_client):
    client = make_client()
    small = client.post(PREDICTIONS, json=ROW, headers={"accept-encoding": "gzip"})
    large = client.post(PREDICTIONS, json=MANY, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in small.headers
    assert "content-encoding" not in large.headers


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("deflate, gzip;q=0.5, br", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; q=0.000", ""),
        ("*", "gzip"),
        ("*;q=0", ""),
        ("*, gzip;q=0", "deflate"),
        ("br, zstd", ""),
        ("," * 10_000, ""),
    ],
)
def test_which_encoding(accepted, encoding):
    assert choose(accepted) == encoding
