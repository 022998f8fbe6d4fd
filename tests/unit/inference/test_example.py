"""Protects: the line that is printed after a deployment is answered when it is pasted, whatever the recipe's columns."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from chandlery.deployments.client import DeploymentAddress, curl_line
from chandlery.deployments.sample import sample_request
from chandlery.example import example_row, write_example
from tests.unit.inference.conftest import write_package

DATED = {
    "day": np.array(["2026-11-26", "2026-11-27"]),
    "wind": np.array([np.nan, np.nan]),
    "delay": np.array([1.0, 2.0]),
}
SCAN = {"pixels": np.full((3, 2, 2), 7.5, dtype="float32"), "label": np.array(["dark"] * 3)}


def package_of(tmp_path, class_name, rows):
    from chandlery.recipe import load_recipe
    from tests.unit.inference.conftest import RECIPES

    folder = write_package(tmp_path / class_name, class_name)
    recipe = load_recipe(f"{RECIPES}:{class_name}").recipe
    write_example(folder, example_row(recipe.inputs(), rows))
    return folder


@pytest.mark.parametrize("protocol", ["seldon", "v2"])
@pytest.mark.parametrize(("class_name", "rows"), [("Dated", DATED), ("Scan", SCAN)])
def test_the_printed_line_is_answered(make_client, tmp_path, class_name, rows, protocol, capsys):
    package = package_of(tmp_path, class_name, rows)
    client = make_client(class_name)
    assert "not warmed up" not in capsys.readouterr().out
    address = DeploymentAddress("http://gateway:1", "ns", "d", protocol, "flights")
    words = shlex.split(curl_line(address, sample_request(package), tmp_path))
    path = urlsplit(words[2]).path.removeprefix("/seldon/ns/d")
    response = client.post(path, content=words[-1], headers={"content-type": "application/json"})
    assert response.status_code == 200, response.text


def test_metadata_show_the_example(make_client, tmp_path):
    package_of(tmp_path, "Dated", DATED)
    client = make_client("Dated")
    custom = client.get("/metadata").json()["custom"]
    assert json.loads(custom["example"]) == {"day": ["2026-11-26"], "wind": [None]}
    inputs = client.get("/v2/models/flights").json()["inputs"]
    assert [column["parameters"]["example"] for column in inputs] == ["2026-11-26", None]


def test_a_package_of_an_earlier_release_shows_none(make_client):
    client = make_client("Scan")
    assert "example" not in client.get("/metadata").json()["custom"]
    assert "example" not in client.get("/v2/models/flights").json()["inputs"][0]["parameters"]
    assert Path(client.app.state.replica.model.folder, "example.json").exists() is False
