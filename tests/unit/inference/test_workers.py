"""Protects: how many workers a server has follows from its model and its machine."""

from __future__ import annotations

import pytest

from chandlery.inference import cores, workers

GIB = 2**30


@pytest.mark.parametrize(
    ("gpus", "available", "memory_limit", "call_seconds", "expected", "why"),
    [
        ([], 8, 64 * GIB, 0.0001, 8, "one for each of 8 cores"),
        ([], 8, 64 * GIB, 0.02, 1, "a call takes 20.0 ms"),
        ([], 8, 2 * GIB, 0.0001, 2, "memory for 2 workers of 512 MiB"),
        ([], 1, 64 * GIB, 0.0001, 1, "one for each of 1 cores"),
        ([], 8, GIB // 2, 0.0001, 1, "memory for 1 workers"),
        (["0", "1", "2"], 8, 64 * GIB, 0.02, 3, "one for each of 3 GPUs"),
    ],
)
def test_the_choice(monkeypatch, gpus, available, memory_limit, call_seconds, expected, why):
    monkeypatch.setattr(workers, "devices", lambda: gpus)
    monkeypatch.setattr(workers, "cores", lambda: available)
    monkeypatch.setattr(workers, "memory_limit", lambda: memory_limit)
    count, said = workers.choose(call_seconds, GIB // 2)
    assert count == expected
    assert why in said


@pytest.mark.parametrize(
    ("given", "expected"), [("", []), ("-1", []), ("0", ["0"]), ("0,2", ["0", "2"]), ("GPU-7f", ["GPU-7f"])]
)
def test_devices(monkeypatch, given, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert cores.devices() == expected
