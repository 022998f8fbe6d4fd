"""The documents of katib/ as they stand: valid for Katib, valid for us, and within what runs on a laptop."""

import json
from pathlib import Path

import jsonschema
import pytest

from chandlery.embedded.experiments.suggestions import make_suggester
from chandlery.provenance import Provenance
from chandlery.search import SearchRequest, build_experiment, preset_names
from chandlery.search.presets import load_preset


def closed(definitions: dict) -> dict:
    """Returns the definitions with unknown fields forbidden, and Kubernetes' own types, which the file lacks, open."""
    known = {
        name: {"additionalProperties": False, **d} if "properties" in d else d
        for name, d in definitions.items()
    }
    missing = set()
    json.dumps(known, default=str)
    stack = [known]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            reference = str(node.get("$ref", "")).rpartition("/")[2]
            if reference and reference not in known:
                missing.add(reference)
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    return known | {name: {} for name in missing}


@pytest.fixture
def validator(upstream_schema):
    definitions = closed(upstream_schema("katib-v1beta1.swagger.json")["definitions"])
    return jsonschema.Draft4Validator(
        {"$ref": "#/definitions/v1beta1.Experiment", "definitions": definitions}
    )


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_valid_against_katibs_schema(name, validator):
    validator.validate(load_preset(name))


def test_the_schema_finds_a_misspelt_field(validator):
    preset = load_preset("random")
    preset["spec"]["parallelTrials"] = 2
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(preset)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_runs_on_a_laptop(name):
    preset = load_preset(name)
    preset["metadata"]["uid"] = "some-uid"
    assignments = make_suggester(preset).suggest([], 0)
    assert set(assignments) == {parameter["name"] for parameter in preset["spec"]["parameters"]}


def test_there_are_the_promised_ones():
    assert {"random", "grid", "tpe", "cmaes", "tpe-medianstop"} <= set(preset_names())


def test_what_we_build_is_valid_against_katibs_schema(monkeypatch, validator):
    monkeypatch.chdir(Path(__file__).parents[3])
    request = SearchRequest(
        "examples/digits/recipe.py:Digits", "digits", "c0ffee", goal=0.9, early_stopping=True
    )
    validator.validate(build_experiment(request, Provenance(run_id="r", task="t")))
