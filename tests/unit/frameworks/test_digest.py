"""Equal trainings have equal digests, in whichever process; different ones have not."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from chandlery import frameworks
from chandlery.frameworks.canonical import digest

TRAIN = """
import json, os, sys
from pathlib import Path
from chandlery import frameworks
from tests.unit.frameworks import test_adapters as cases

padding = [object() for _ in range(int(sys.argv[2]))]  # other addresses
found = {}
for name, (make, features, labels, _) in cases.CASES.items():
    model = make()
    cases.train(model, features, labels)
    folder = Path(sys.argv[1]) / name
    frameworks.save(model, folder)
    found[name] = frameworks.digest(folder)
print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_processes_agree(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    found = []
    for index, seed in enumerate(["1", "2"]):
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root), "PYTHONHASHSEED": seed}
        command = [sys.executable, "-W", "ignore", "-c", TRAIN, str(tmp_path / seed), str(index * 10_000)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=root)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
    assert len(set(found[0].values())) == len(found[0])


def folder_with(folder: Path, content: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "model.zip", "w") as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, (2000 + len(folder.name), 1, 1, 0, 0, 0)), data)
    return folder


def test_time_stamps_and_order_in_an_archive_mean_nothing(tmp_path: Path) -> None:
    one = folder_with(tmp_path / "a", {"x": b"1", "y": b"2"})
    other = folder_with(tmp_path / "bb", {"y": b"2", "x": b"1"})
    third = folder_with(tmp_path / "ccc", {"x": b"1", "y": b"3"})
    assert (one / "model.zip").read_bytes() != (other / "model.zip").read_bytes()
    assert digest(one) == digest(other) != digest(third)


def test_names_and_contents_of_files_count(tmp_path: Path) -> None:
    digests = set()
    for index, (name, content) in enumerate([("a", b"1"), ("a", b"2"), ("b", b"1")]):
        folder = tmp_path / str(index)
        folder.mkdir()
        (folder / name).write_bytes(content)
        digests.add(digest(folder))
    assert len(digests) == 3


def dumped(value: object, folder: Path) -> str:
    import skops.io

    folder.mkdir()
    skops.io.dump(value, folder / "model.skops")
    return frameworks.digest(folder)


def test_bytes_between_fields_mean_nothing(tmp_path: Path) -> None:
    kind = np.dtype({"names": ["a", "b"], "formats": ["u1", "f8"], "offsets": [0, 8], "itemsize": 16})
    arrays = []
    for filler in (0, 255):
        raw = np.full(16 * 3, filler, dtype="u1")
        array = raw.view(kind)
        array["a"], array["b"] = [1, 2, 3], [0.5, 1.5, 2.5]
        arrays.append(array)
    assert arrays[0].tobytes() != arrays[1].tobytes()
    first = dumped({"nodes": arrays[0]}, tmp_path / "1")
    assert first == dumped({"nodes": arrays[1]}, tmp_path / "2")
    arrays[1]["b"][1] = 9
    assert first != dumped({"nodes": arrays[1]}, tmp_path / "3")


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": 1, "b": 2.0}, {"b": 2.0, "a": 1}, True),
        ({1: "a", "b": 2}, {"b": 2, 1: "a"}, True),
        ({1: "a"}, {"1": "a"}, False),
        ({"a": 1}, {"a": 1.0}, False),
        ([1, 2], [2, 1], False),
        ({"x": {3, 1, 2}}, {"x": {2, 3, 1}}, True),
        (np.zeros(2), np.zeros(2, dtype="float32"), False),
        (np.zeros((2, 1)), np.zeros((1, 2)), False),
        ({"mean_fit_time": np.ones(1)}, {"mean_fit_time": np.zeros(1)}, True),
    ],
)
def test_what_a_skops_archive_means(one: object, other: object, equal: bool, tmp_path: Path) -> None:
    assert (dumped(one, tmp_path / "1") == dumped(other, tmp_path / "2")) is equal
