"""Protects: the OpenAPI document describes the recipe, its examples are answered, and the page loads nothing from elsewhere."""

from __future__ import annotations

import json
import re

import pytest


def post_examples(api):
    for path, item in api["paths"].items():
        if "post" in item:
            body = item["post"]["requestBody"]["content"]["application/json"]
            yield from ((path, example["value"]) for example in body["examples"].values())


@pytest.mark.parametrize("recipe", ["Flights", "Voyages", "Scan", "Words", "Thumbs", "Trips"])
def test_every_example_is_answered(make_client, recipe):
    client = make_client(recipe)
    api = client.get("/openapi.json").json()
    examples = list(post_examples(api))
    assert len(examples) == 5
    for path, value in examples:
        answer = client.post(path, json=value)
        assert answer.status_code == 200, (path, value, answer.text)


def test_a_real_row_is_the_example(make_client):
    client = make_client()
    folder = client.app.state.replica.model.folder
    (folder / "example.json").write_text(json.dumps({"airport": ["LEJ"], "hour": [5], "wind": [2.5]}))
    api = client.get("/openapi.json").json()
    assert {"dataframe_records": [{"airport": "LEJ", "hour": 5, "wind": 2.5}]} in [
        v for _, v in post_examples(api)
    ]


def test_the_schema_is_the_recipes(make_client):
    api = make_client().get("/openapi.json").json()
    assert api["openapi"] == "3.1.0"
    assert api["info"]["version"] == "3"
    assert api["servers"] == [{"url": "."}]  # the prefix of a gateway stays
    row = api["components"]["schemas"]["Row"]
    assert row["required"] == ["airport", "hour", "wind"]
    assert row["properties"] == {
        "airport": {"type": "string", "enum": ["HAM", "LEJ"], "description": "IATA code"},
        "hour": {"type": "integer", "minimum": 0, "maximum": 23},
        "wind": {"type": ["number", "null"], "description": "m/s"},
    }
    pixels = (
        make_client("Scan")
        .get("/openapi.json")
        .json()["components"]["schemas"]["Row"]["properties"]["pixels"]
    )
    assert (pixels["minItems"], pixels["items"]["maxItems"], pixels["items"]["items"]["type"]) == (
        2,
        2,
        "number",
    )
    for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(api)):
        assert reference in api["components"]["schemas"]


def test_the_page_loads_nothing_from_elsewhere(make_client):
    client = make_client()
    page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    parts = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert parts == [
        "docs/page.css",
        "openapi.json",
        "docs/page.js",
    ]  # relative: the prefix of a gateway stays
    assert not re.search(r"<script(?! src=)|<style| style=| on\w+=", page.text)
    for part in parts:
        found = client.get(f"/{part}")
        assert found.status_code == 200
        assert "//" not in found.text or part == "openapi.json"
    for path in ("/docs/app.py", "/docs/..%2fapp.py", "/docs/docs.html/x"):
        assert client.get(path).status_code == 404
