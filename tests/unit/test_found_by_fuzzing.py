"""What fuzzing found once stays refused in words: wrong shapes at every door."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import yaml

from chandlery import addresses, platform
from chandlery.data import names
from chandlery.data.references import repo_message
from chandlery.data.sources import open_source
from chandlery.embedded.pachd.rpc.parsing import parse
from chandlery.embedded.pachd.store.failure import ServiceError
from chandlery.errors import InvalidDocumentError, RecipeError, RegistryError, UserError
from chandlery.inference.refusal import Refused
from chandlery.inference.seldon_v1 import read_message
from chandlery.recipe import Column, check_rows, load_recipe
from chandlery.registry.reader import RegistryReader
from chandlery.registry.versions import parse as parse_model
from chandlery.resources.document import prepared
from chandlery.resources.experiment import check_experiment
from chandlery.resources.experiment_space import dimensions
from chandlery.resources.seldon_deployment import check_document

ROOT = Path(__file__).parents[2]


def changed(file: str, path: tuple[Any, ...], value: object) -> Any:
    document = yaml.safe_load((ROOT / file).read_text())
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return document


def deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("metadata",), None, "metadata is null, not a map"),
        (("spec",), [], r"spec is \[\], not a map"),
        (("spec", "parameters"), {"a": 1}, "spec.parameters is .*, not a list"),
        (("spec", "parameters", 0), "x", r"spec.parameters\[0\] is 'x', not a map"),
        (("spec", "algorithm", "algorithmSettings"), [{"name": "a"}], "has no value"),
        (("spec", "objective", "additionalMetricNames"), [1], r"additionalMetricNames\[0\] is 1, not a text"),
        (("spec", "trialTemplate", "trialSpec", "spec"), {}, "spec has no template"),
        (("spec", "anything"), float("nan"), "not plain JSON"),
        (("spec", "anything"), "\ud800", "not plain JSON"),
        (("spec", "anything"), "a\0b", "NUL"),
        (("spec", "anything"), deep(1000), "nested more than 64 levels"),
    ],
)
def test_an_experiment_of_the_wrong_shape(path: tuple[Any, ...], value: object, told: str) -> None:
    with pytest.raises(InvalidDocumentError, match=told):
        check_experiment(changed("katib/random.yaml", path, value))


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("metadata",), [], "metadata is"),
        (("spec", "predictors"), "ab", "not a list"),
        (("spec", "predictors", 0, "graph"), "x", r"predictors\[0\].graph is 'x', not a map"),
        (("spec", "predictors", 0, "componentSpecs"), [{"spec": {"containers": [{}]}}], "has no name"),
        (("spec", "predictors", 0, "annotations"), {"version": None}, "is null, not a text"),
        (("spec", "predictors", 0, "progressDeadlineSeconds"), 10**400, "fits into 64 bits"),
        (("spec", "predictors", 0, "traffic"), None, r"traffic is null, not a number"),
        (("spec", "predictors", 0, "replicas"), [], r"replicas is \[\], not a whole number"),
    ],
)
def test_a_deployment_of_the_wrong_shape(path: tuple[Any, ...], value: object, told: str) -> None:
    with pytest.raises(InvalidDocumentError, match=told):
        check_document(changed("seldon/replace.yaml", path, value))


def test_tags_that_are_read_but_cannot_be_written() -> None:
    assert read_message({"data": {"ndarray": [[1]]}, "meta": {"tags": {"a": deep(200)}}}).tags
    with pytest.raises(Refused, match=r"meta\.tags cannot be given back"):
        read_message({"data": {"ndarray": [[1]]}, "meta": {"tags": {"a": deep(400)}}})


@pytest.mark.parametrize("document", [None, [], "x", 1])
def test_no_document_at_all(document: Any) -> None:
    for check in (check_experiment, check_document, prepared):
        with pytest.raises(InvalidDocumentError):
            check(copy.copy(document))


def test_names_that_no_file_system_can_hold() -> None:
    with pytest.raises(UserError, match="half a character"):
        names.encode("a\ud800")


@pytest.mark.parametrize("repo", ["digits\n", "a/b\n", "", "a b"])
def test_a_newline_is_no_part_of_a_name(repo: str) -> None:
    with pytest.raises(UserError):
        repo_message(repo)


@pytest.mark.parametrize("address", ["http://[", "s3://[x", "a\0b", "file://[::1"])
def test_sources_that_are_no_address(address: str) -> None:
    with pytest.raises(UserError):
        open_source(address)


def test_only_plain_digits_are_a_version() -> None:
    with pytest.raises(UserError, match="not a model URI"):
        parse_model("models:/digits/²")


@pytest.mark.parametrize(
    "text",
    [
        b"endpoints = 1",
        b"[[endpoints]]",
        b"\xff",
        b"[endpoints]\ndata = 1",
        b'[endpoints]\ndata = "a\\u0000"',
    ],
)
def test_configuration_of_the_wrong_shape(
    text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chandlery.toml").write_bytes(text)
    with pytest.raises(UserError, match=r"chandlery\.toml"):
        addresses.endpoints()


@pytest.mark.parametrize("text", ["[]", "1", '"a"', "{"])
def test_what_the_platform_wrote_is_damaged(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "platform").mkdir()
    (tmp_path / "platform" / "endpoints.json").write_text(text)
    assert addresses.endpoints().mlflow == ""


@pytest.mark.parametrize(
    "address", ["https://[", "grpc://a:b", "grpc://host:99999999", "embedded:", "embedded://relative"]
)
def test_data_addresses_that_are_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANDLERY_DATA", address)
    with pytest.raises(UserError, match="CHANDLERY_DATA="):
        platform.open_data()


@pytest.mark.parametrize("address", ["http://a:b", "http://\x1f", "http://["])
def test_mlflow_addresses_that_are_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(RegistryError, match="not an address"):
        RegistryReader()


@pytest.mark.parametrize(
    "reference", ["a" * 5000 + ".py:Digits", "a\0b.py:Digits", "__main__:X", "." * 3 + "a:B"]
)
def test_recipe_references_that_name_nothing(reference: str) -> None:
    with pytest.raises(RecipeError):
        load_recipe(reference)


@pytest.mark.parametrize(
    "value",
    [
        [1, [2]],
        np.zeros(2) * 1j,
        np.array(["2020-01-01"] * 2, dtype="datetime64[D]"),
        np.zeros(2, dtype=[("a", "i4")]),
        np.array([b"a"] * 2),
    ],
)
def test_columns_that_are_no_numbers(value: object) -> None:
    with pytest.raises(RecipeError, match="'x'"):
        check_rows((Column("x"),), {"x": value})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x01",
        b"\x0a",
        b"\x0a\xff",
        b"\x0f",
        b"\x0a\x02\x0a\xff",
        b"\x12\x01\xff",
        b"\x0a\x04\x0a\x01a\x1b",
    ],
)
def test_malformed_messages(data: bytes) -> None:
    from pachyderm_sdk.api import pfs

    with pytest.raises(ServiceError, match="malformed message") as caught:
        parse(pfs.CreateRepoRequest, data)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_negative_zero_is_no_bound_of_its_own() -> None:
    space = {"min": "0", "max": "-0.0"}
    (found,) = dimensions([{"name": "x", "parameterType": "double", "feasibleSpace": space}])
    assert math.copysign(1, found.minimum) == math.copysign(1, found.maximum) == 1
