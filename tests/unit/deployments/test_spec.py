"""A spec and its SeldonDeployment say the same, and no document that Seldon would misread is ever written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chandlery.deployments.examples import example_specs, example_text
from chandlery.deployments.spec import ServingSpec, Variant, from_seldon, node_name, to_seldon
from chandlery.errors import InvalidDocumentError
from chandlery.provenance import Provenance
from chandlery.resources.seldon_deployment import check_document

ROOT = Path(__file__).parents[3]


def spec(*weights: int, **changes: object) -> ServingSpec:
    variants = tuple(Variant(str(12 + i), f"models:/digits/{12 + i}", w) for i, w in enumerate(weights))
    strategy = "replace" if len(weights) == 1 else "canary"
    return ServingSpec("digits", "default", "digits", variants, strategy=strategy).with_(**changes)


@given(
    first=st.integers(1, 99),
    replicas=st.integers(1, 5),
    protocol=st.sampled_from(["seldon", "v2"]),
    strategy=st.sampled_from(["canary", "ab"]),
    image=st.sampled_from(["", "registry.example/own:1"]),
    commit=st.text("0123456789abcdef", max_size=12),
)
def test_round_trip(first: int, replicas: int, protocol: str, strategy: str, image: str, commit: str) -> None:
    made = ServingSpec(
        "digits",
        "team-a",
        "Digits of UCI",
        (Variant("1", "/models/1", first), Variant("2", "models:/d/2", 100 - first, image)),
        strategy=strategy,
        protocol=protocol,
        replicas=replicas,
        environment=(("CHANDLERY_MAX_BATCH", "32"),),
        provenance=Provenance(data_commit=commit, model_version="2"),
    )
    assert from_seldon(to_seldon(made)) == made


def test_shadow_round_trip() -> None:
    made = spec(100, strategy="shadow", shadow=Variant("13", "models:/digits/13", 50))
    document = to_seldon(made)
    assert from_seldon(document) == made
    assert [(p["name"], p.get("shadow", False)) for p in document["spec"]["predictors"]] == [
        ("v12", False),
        ("v13", True),
    ]


def test_predictors_are_named_by_version_and_the_stable_one_is_first() -> None:
    document = to_seldon(spec(95, 5))
    predictors = document["spec"]["predictors"]
    assert [(p["name"], p["traffic"], p["annotations"]["version"]) for p in predictors] == [
        ("v12", 95, "12"),
        ("v13", 5, "13"),
    ]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (spec(90, 5), "add up to 95"),
        (spec(100, 0), "weight 0"),
        (spec(100, strategy="canary"), "does not fit"),
        (spec(50, 50, strategy="replace"), "does not fit"),
        (spec(100, strategy="shadow"), "does not fit"),
        (spec(100, strategy="blue-green"), "unknown strategy"),
        (spec(100, protocol="grpc"), "unknown protocol"),
        (spec(100, name="Digits!"), "not valid"),
        (spec(100, replicas=0), "replicas"),
        (spec(100, variants=(Variant("1", "", 100),)), "no uri"),
        (spec(100, variants=(Variant("1", "u", 50), Variant("1", "u", 50)), strategy="ab"), "repeat"),
        (spec(100, strategy="shadow", shadow=Variant("12", "u", 100)), "repeat"),
        (spec(60), "traffic 60"),
        (spec(100, model_name="???"), "no letter"),
    ],
)
def test_a_spec_that_breaks_a_rule_is_refused(made: ServingSpec, says: str) -> None:
    with pytest.raises(InvalidDocumentError, match=says) as caught:
        to_seldon(made)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(kind="Deployment"), "not a SeldonDeployment"),
        (lambda d: d["spec"].update(predictors=[]), "no predictors"),
        (lambda d: d["spec"]["predictors"][1].update(traffic=0), "without traffic"),
        (lambda d: d["spec"]["predictors"][1].update(traffic=4.5), "whole percents"),
        (lambda d: [p.update(shadow=True) for p in d["spec"]["predictors"]], "2 shadows"),
        (lambda d: d["spec"]["predictors"][0].update(name="V 12"), "predictor name"),
        (lambda d: d["spec"]["predictors"][0]["graph"].update(children=[{"name": "x"}]), "several nodes"),
        (lambda d: d["spec"]["predictors"][0].update(graph={}), "no name"),
    ],
)
def test_a_document_that_breaks_a_rule_is_refused(change: object, says: str) -> None:
    document = to_seldon(spec(95, 5))
    change(document)  # type: ignore[operator]
    with pytest.raises(InvalidDocumentError, match=says):
        check_document(document)


def test_a_predictor_that_is_not_named_by_its_version_is_not_read_as_a_spec() -> None:
    document = to_seldon(spec(100))
    document["spec"]["predictors"][0]["name"] = "default"
    with pytest.raises(InvalidDocumentError, match="not written by Chandlery"):
        from_seldon(document)


@pytest.mark.parametrize(
    ("name", "node"), [("digits", "digits"), ("My Model_2", "my-model-2"), ("a" * 80, "a" * 63)]
)
def test_node_names_are_dns_labels(name: str, node: str) -> None:
    assert node_name(name) == node


@pytest.mark.parametrize("strategy", sorted(example_specs()))
def test_published_documents_are_what_the_code_writes_and_are_valid(strategy: str) -> None:
    text = (ROOT / "seldon" / f"{strategy}.yaml").read_text(encoding="utf-8")
    assert text == example_text(strategy), "refresh: python -m chandlery.deployments.examples seldon"
    assert from_seldon(yaml.safe_load(text)).strategy == strategy
