"""The documents we write hold against the schema of Seldon's CRD, with no field that it does not know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from chandlery.deployments.spec import ServingSpec, Variant, to_seldon

ROOT = Path(__file__).parents[3]


def strict(schema: Any) -> Any:
    """The API server drops unknown fields in silence; here they are errors."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        made["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        made.setdefault("additionalProperties", False)
    return made


@pytest.fixture
def schema(upstream_schema: Callable[[str], dict[str, Any]]) -> Any:
    return strict(upstream_schema("seldondeployment-v1.schema.json"))


@pytest.mark.parametrize("strategy", ["replace", "canary", "ab", "shadow"])
def test_published_documents_fit_the_schema(strategy: str, schema: Any) -> None:
    document = yaml.safe_load((ROOT / "seldon" / f"{strategy}.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)


@pytest.mark.parametrize("protocol", ["seldon", "v2"])
def test_a_spec_with_everything_set_fits_the_schema(protocol: str, schema: Any) -> None:
    spec = ServingSpec(
        "digits",
        "default",
        "Digits of UCI",
        (Variant("1", "/m/1", 60), Variant("2", "/m/2", 40, "registry.example/own:1")),
        strategy="shadow",
        shadow=Variant("3", "/m/3", 10),
        protocol=protocol,
        replicas=3,
        cpu_limit="2",
        environment=(("A", "b"),),
    )
    jsonschema.validate(to_seldon(spec), schema)


def test_the_check_can_fail(schema: Any) -> None:
    document = yaml.safe_load((ROOT / "seldon" / "replace.yaml").read_text(encoding="utf-8"))
    document["spec"]["predictors"][0]["weight"] = 5
    with pytest.raises(jsonschema.ValidationError, match="weight"):
        jsonschema.validate(document, schema)
