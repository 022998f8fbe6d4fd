"""The Experiment that a search submits."""

import json
from pathlib import Path

import pytest
import yaml

from chandlery.errors import InvalidDocumentError, RecipeError, UserError
from chandlery.provenance import Provenance, read
from chandlery.resources.experiment import check_experiment
from chandlery.search import SearchRequest, build_experiment, preset_names
from chandlery.search.presets import load_preset
from chandlery.steps.search.tune_hyperparameters import cli_document

RECORD = Provenance(run_id="run-1", task="tune")


def build(reference: str, record: Provenance = RECORD, **changes):
    return build_experiment(SearchRequest(reference, "repo", "c0ffee", **changes), record)


def arguments(document):
    (container,) = document["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"]
    return container["command"] + container["args"]


def test_every_dimension_of_the_recipe_is_searched(make_recipe):
    document = build(make_recipe())
    assert document["spec"]["parameters"] == [
        {
            "name": "rate",
            "parameterType": "double",
            "feasibleSpace": {"min": "0.001", "max": "0.1", "distribution": "logUniform"},
        },
        {"name": "units", "parameterType": "int", "feasibleSpace": {"min": "8", "max": "64"}},
        {"name": "size", "parameterType": "discrete", "feasibleSpace": {"list": ["16", "32"]}},
        {"name": "kind", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b"]}},
    ]


def test_the_trial_runs_training_with_its_parameters(make_recipe):
    reference = make_recipe()
    words = arguments(build(reference, fixed={"epochs": 5, "kind": "a"}))
    assert words[:4] == ["python", "-P", "-m", "chandlery.training.trial"]
    assert words[words.index("--recipe") + 1].startswith(reference + "@")
    assert words[words.index("--commit") + 1] == "c0ffee"
    given = [words[i + 1] for i, word in enumerate(words) if word == "--parameter"]
    assert given == [
        "rate=${trialParameters.rate}",
        "units=${trialParameters.units}",
        "size=${trialParameters.size}",
        "epochs=5",
        "kind=a",
    ]


@pytest.mark.parametrize(("objective", "type_"), [("accuracy", "maximize"), ("rmse", "minimize")])
def test_the_objective_is_the_recipes(make_recipe, objective, type_):
    spec = build(make_recipe(objective=objective), goal=0.5)["spec"]
    assert spec["objective"]["type"] == type_
    assert spec["objective"]["objectiveMetricName"] == objective
    assert spec["objective"]["goal"] == 0.5


def test_counts_seed_and_early_stopping(make_recipe):
    spec = build(
        make_recipe(), max_trials=5, parallel_trials=9, max_failed_trials=9, seed=3, early_stopping=True
    )["spec"]
    assert (spec["maxTrialCount"], spec["parallelTrialCount"], spec["maxFailedTrialCount"]) == (5, 5, 5)
    assert {"name": "random_state", "value": "3"} in spec["algorithm"]["algorithmSettings"]
    assert spec["earlyStopping"]["algorithmName"] == "medianstop"
    assert "earlyStopping" not in build(make_recipe())["spec"]


def test_its_annotations_lead_to_data_and_recipe(make_recipe):
    document = build(make_recipe())
    record = read(document["metadata"]["annotations"])
    assert (record.run_id, record.data_commit, record.experiment) == (
        "run-1",
        "c0ffee",
        document["metadata"]["name"],
    )
    assert record.recipe_digest in record.recipe


class TestName:
    def test_a_retry_finds_it_and_nothing_else_does(self, make_recipe):
        reference = make_recipe()
        names = {
            "same": build(reference),
            "retry": build(reference),
            "run": build(reference, Provenance(run_id="run-2", task="tune")),
            "task": build(reference, Provenance(run_id="run-1", task="other")),
            "seed": build(reference, seed=1),
        }
        names = {key: document["metadata"]["name"] for key, document in names.items()}
        assert names["same"] == names["retry"]
        assert len(set(names.values())) == 4

    def test_another_recipe_source_is_another_search(self, make_recipe):
        first = build(make_recipe())
        second = build(make_recipe(space='(Parameter("rate", "double", minimum=0.1, maximum=0.2),)'))
        assert first["metadata"]["name"] != second["metadata"]["name"]

    def test_it_is_short_and_speaks(self, make_recipe):
        name = build(make_recipe())["metadata"]["name"]
        assert name.startswith("tabular-net-")
        assert len(name) <= 40


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ("()", "empty"),
        ('(Parameter("x", "double", minimum=2, maximum=1),)', "min 2 > max 1"),
        ('(Parameter("x", "double", minimum=1),)', "no max"),
        ('(Parameter("x", "double", minimum=0, maximum=1, step=0),)', "step 0"),
        ('(Parameter("x", "double", minimum=0, maximum=1, step=-0.1),)', "step -0.1"),
        ('(Parameter("x", "double", minimum=0, maximum=1, step=2),)', "step 2"),
        ('(Parameter("x", "double", minimum=0, maximum=1, log=True),)', "logarithm"),
        ('(Parameter("x", "double", minimum=1, maximum=2, step=0.5, log=True),)', "logarithmic"),
        ('(Parameter("x", "double", minimum=0, maximum=float("inf")),)', "not a number"),
        ('(Parameter("x", "int", minimum=0.5, maximum=2),)', "whole"),
        ('(Parameter("x", "int", minimum=1, maximum=4, log=True),)', "logUniform"),
        ('(Parameter("x", "discrete"),)', "no values"),
        ('(Parameter("x", "discrete", values=("a",)),)', "not a number"),
        ('(Parameter("x", "categorical", values=("a", "a")),)', "twice"),
        ('(Parameter("x", "float", minimum=0, maximum=1),)', "valid: double"),
        ('(Parameter("x y", "double", minimum=0, maximum=1),)', "x y"),
        (
            '(Parameter("x", "int", minimum=0, maximum=1), Parameter("x", "int", minimum=0, maximum=1))',
            "twice",
        ),
    ],
)
def test_an_impossible_space_is_refused(make_recipe, space, says):
    with pytest.raises(InvalidDocumentError) as caught:
        build(make_recipe(space=space))
    assert says in str(caught.value)
    assert str(caught.value).count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_trials": 0}, "maxTrialCount"),
        ({"parallel_trials": 0}, "parallelTrialCount"),
        ({"max_failed_trials": -1}, "maxFailedTrialCount"),
        ({"algorithm": "grid", "max_trials": 1}, "grid needs a step"),
        ({"algorithm": "cmaes"}, "cmaes needs"),
    ],
)
def test_impossible_counts_and_algorithms_are_refused(make_recipe, changes, says):
    with pytest.raises(InvalidDocumentError, match=says):
        build(make_recipe(), **changes)


def test_a_grid_has_no_more_trials_than_points(make_recipe):
    """Katib fails a grid search of more; here the builder asks for no more, and a document that does is refused."""
    space = '(Parameter("x", "double", minimum=0, maximum=0.3, step=0.1), Parameter("y", "int", minimum=1, maximum=2))'
    document = build(make_recipe(space=space), algorithm="grid", max_trials=50, parallel_trials=20)
    assert (document["spec"]["maxTrialCount"], document["spec"]["parallelTrialCount"]) == (8, 8)
    document["spec"]["maxTrialCount"] = 9
    with pytest.raises(InvalidDocumentError, match="9 > 8 points"):
        check_experiment(document)


def test_an_unknown_preset_lists_those_that_are(make_recipe):
    with pytest.raises(UserError, match=r"random, sobol, tpe"):
        build(make_recipe(), algorithm="simulated-annealing")


def test_an_unknown_recipe():
    with pytest.raises(RecipeError):
        build("nowhere.py:Nothing")


class TestOwnPreset:
    def test_what_the_builder_does_not_set_is_kept(self, make_recipe, tmp_path: Path):
        preset = load_preset("random")
        pod = preset["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
        pod["nodeSelector"] = {"gpu": "yes"}
        preset["spec"]["resumePolicy"] = "LongRunning"
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(preset))
        spec = build(make_recipe(), algorithm=str(path))["spec"]
        assert spec["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["nodeSelector"] == {
            "gpu": "yes"
        }
        assert spec["resumePolicy"] == "LongRunning"

    def test_a_misspelt_field_is_found(self, make_recipe, tmp_path: Path):
        preset = load_preset("random")
        preset["spec"]["parallelTrials"] = 3
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(preset))
        with pytest.raises(InvalidDocumentError, match=r"spec\.parallelTrials"):
            build(make_recipe(), algorithm=str(path))

    @pytest.mark.parametrize("text", ["a: [", "- 1", "kind: Pod", ""])
    def test_a_file_that_holds_no_experiment(self, make_recipe, tmp_path: Path, text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        with pytest.raises(InvalidDocumentError):
            build(make_recipe(), algorithm=str(path))


def test_dry_run_prints_the_document_and_creates_nothing(make_recipe, home: Path):
    text = cli_document(SearchRequest(make_recipe(), "repo", "c0ffee"))
    check_experiment(yaml.safe_load(text))
    assert not home.exists()


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_makes_a_valid_experiment(make_recipe, name):
    space = '(Parameter("x", "int", minimum=1, maximum=4), Parameter("y", "int", minimum=1, maximum=4))'
    document = build(make_recipe(space=space), algorithm=name)
    json.dumps(document)
    expected = load_preset(name)["spec"]["algorithm"]["algorithmName"]
    assert document["spec"]["algorithm"]["algorithmName"] == expected
