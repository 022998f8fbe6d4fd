"""What a document asks for, and what this controller refuses rather than guesses."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from chandlery.deployments.spec import ServingSpec, Variant, to_seldon
from chandlery.embedded.deployments.desired import desired
from chandlery.errors import InvalidDocumentError


def document(**changes: Any) -> dict[str, Any]:
    spec = ServingSpec(
        "digits",
        "default",
        "Digits",
        (Variant("1", "models:/d/1", 95), Variant("2", "models:/d/2", 5)),
        strategy="canary",
    ).with_(**changes)
    made = to_seldon(spec)
    made["metadata"] |= {"uid": "u", "generation": 3}
    return made


def test_servers_get_what_seldons_operator_gives() -> None:
    first, second = desired(document()).predictors
    assert (first.name, first.weight, second.weight, first.replicas) == ("v1", 95, 5, 1)
    assert first.environment.items() >= {
        ("SELDON_DEPLOYMENT_ID", "digits"),
        ("PREDICTOR_ID", "v1"),
        ("PREDICTIVE_UNIT_ID", "digits"),
        ("MODEL_NAME", "Digits"),
        ("MODEL_URI", "models:/d/1"),
        ("HOST", "127.0.0.1"),
    }


def test_only_what_a_server_is_given_changes_its_digest() -> None:
    base = desired(document()).predictors[0]
    weights = (Variant("1", "models:/d/1", 50), Variant("2", "models:/d/2", 50))
    assert desired(document(variants=weights, replicas=3)).predictors[0].digest == base.digest
    assert desired(document(environment=(("A", "b"),))).predictors[0].digest != base.digest


def test_a_shadow() -> None:
    made = desired(
        document(
            variants=(Variant("1", "u", 100),), shadow=Variant("2", "models:/d/2", 40), strategy="shadow"
        )
    )
    assert [(p.name, p.weight, p.shadow) for p in made.predictors] == [("v1", 100, False), ("v2", 40, True)]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("graph", "implementation"), "SKLEARN_SERVER", "runs on a cluster only"),
        (("graph", "name"), "another", "one container"),
        (("componentSpecs",), [], "one container"),
        (("componentSpecs", 0, "spec", "containers", 0, "env"), [], "no MODEL_URI"),
        (
            ("componentSpecs", 0, "spec", "containers", 0, "env"),
            [{"name": "A", "valueFrom": {"secretKeyRef": {"key": "k", "name": "n"}}}],
            "comes from a cluster's object",
        ),
    ],
)
def test_what_only_a_cluster_has_is_refused(path: tuple[Any, ...], value: Any, says: str) -> None:
    made = copy.deepcopy(document())
    place: Any = made["spec"]["predictors"][0]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidDocumentError, match=says) as caught:
        desired(made)
    assert caught.value.hint
