"""Assignments from the libraries: inside the space, the same again, and learning from results."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery.embedded.experiments.suggestions import Past, make_suggester
from chandlery.errors import InvalidDocumentError, SearchError
from chandlery.resources.experiment_space import dimensions

RANGES = [
    {"name": "d", "parameterType": "double", "feasibleSpace": {"min": "-1", "max": "2"}},
    {
        "name": "log",
        "parameterType": "double",
        "feasibleSpace": {"min": "0.001", "max": "1", "distribution": "logUniform"},
    },
    {"name": "i", "parameterType": "int", "feasibleSpace": {"min": "3", "max": "9"}},
    {"name": "step", "parameterType": "double", "feasibleSpace": {"min": "0.1", "max": "0.5", "step": "0.2"}},
    {"name": "even", "parameterType": "int", "feasibleSpace": {"min": "2", "max": "9", "step": "2"}},
]
CHOICES = [
    {"name": "size", "parameterType": "discrete", "feasibleSpace": {"list": ["1", "0.5"]}},
    {"name": "kind", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b c", "=d"]}},
]


def experiment(algorithm, parameters, seed="5", type_="maximize", **settings):
    given_ = [{"name": k, "value": v} for k, v in ({"random_state": seed} | settings).items() if v]
    return {
        "metadata": {"uid": "u"},
        "spec": {
            "algorithm": {"algorithmName": algorithm, "algorithmSettings": given_},
            "objective": {"type": type_, "objectiveMetricName": "m"},
            "parallelTrialCount": 2,
            "parameters": parameters,
        },
    }


def search(document, count, objective=lambda a: 0.0, parallel=1):
    suggester, past = make_suggester(document), []
    for index in range(count):
        known = max(0, index - parallel + 1)
        assignments = suggester.suggest(past, known)
        if assignments is None:
            break
        past.append(Past(assignments, known, objective(assignments)))
    return past


@pytest.mark.parametrize("algorithm", ["random", "tpe", "multivariate-tpe", "cmaes", "sobol"])
def test_assignments_lie_in_the_space(algorithm):
    parameters = RANGES if algorithm == "cmaes" else RANGES + CHOICES
    seed = "" if algorithm == "sobol" else "5"
    for past in search(experiment(algorithm, parameters, seed), 12):
        for dimension in dimensions(parameters):
            text = past.assignments[dimension.name]
            if dimension.values:
                assert text in dimension.values
                continue
            value = dimension.value(text)
            assert dimension.minimum <= value <= dimension.maximum
            if dimension.type == "int":
                assert text.lstrip("-").isdecimal()
        assert past.assignments["even"] in {"2", "4", "6", "8"} or algorithm == "tpe"


@pytest.mark.parametrize("algorithm", ["random", "tpe", "multivariate-tpe", "cmaes", "grid"])
def test_a_new_suggester_goes_on_as_the_old_one_would(algorithm):
    parameters = RANGES[2:] if algorithm == "grid" else RANGES
    document = experiment(algorithm, parameters)
    past = search(document, 9, lambda a: float(a["i"]), parallel=3)
    for index in (0, 1, 5, 8):
        again = make_suggester(document).suggest(past[:index], past[index].known)
        assert again == past[index].assignments


def test_a_history_that_the_library_would_not_have_made_is_refused():
    document = experiment("random", RANGES)
    strange = Past({"d": "0", "log": "0.5", "i": "3", "step": "0.1", "even": "2"}, 0, 1.0)
    with pytest.raises(SearchError, match="trial 0"):
        make_suggester(document).suggest([strange], 0)


@pytest.mark.parametrize("algorithm", ["tpe", "multivariate-tpe", "cmaes"])
@pytest.mark.parametrize("type_", ["maximize", "minimize"])
def test_it_learns_in_the_right_direction(algorithm, type_):
    parameters = [
        {"name": name, "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
        for name in ("a", "b")
    ]
    past = search(experiment(algorithm, parameters, type_=type_), 45, lambda x: float(x["a"]) + float(x["b"]))
    late = sum(one.objective for one in past[-15:]) / 15
    assert late > 1.2 if type_ == "maximize" else late < 0.8


def test_trials_without_an_objective_do_not_stop_it():
    for algorithm in ("tpe", "multivariate-tpe", "cmaes"):
        assert len(search(experiment(algorithm, RANGES), 6, lambda a: None)) == 6


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_a_grid_is_every_point_once(width, choices, seed):
    parameters = [
        {"name": "i", "parameterType": "int", "feasibleSpace": {"min": "1", "max": str(width)}},
        {"name": "c", "parameterType": "categorical", "feasibleSpace": {"list": list("abc")[:choices]}},
    ]
    past = search(experiment("grid", parameters, str(seed)), 100)
    points = {(one.assignments["i"], one.assignments["c"]) for one in past}
    assert len(past) == len(points) == width * choices


def test_a_grid_holds_both_ends():
    parameters = [
        {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "0.3", "step": "0.1"}}
    ]
    assert sorted(p.assignments["x"] for p in search(experiment("grid", parameters), 9)) == [
        "0.0",
        "0.1",
        "0.2",
        "0.3",
    ]


@pytest.mark.parametrize(
    ("algorithm", "changes", "says"),
    [
        ("hyperband", {}, "valid here: random"),
        ("random", {"sigma": "1"}, "random_state"),
        ("tpe", {"gamma": "much"}, "much"),
        ("grid", {"random_state": "x"}, "'x'"),
        ("random", {"random_state": "-1"}, "use a whole number from 0"),
        ("tpe", {"random_state": "1.5"}, "use a whole number from 0"),
        ("tpe", {"gamma": "1"}, "use a number between 0 and 1"),
        ("tpe", {"gamma": "0"}, "use a number between 0 and 1"),
        ("tpe", {"prior_weight": "0"}, "use a number above 0"),
        ("tpe", {"n_EI_candidates": "0"}, "use a whole number of at least 1"),
        ("tpe", {"n_EI_candidates": "inf"}, "use a whole number of at least 1"),
        ("multivariate-tpe", {"n_startup_trials": "nan"}, "use a whole number of at least 0"),
        ("cmaes", {"sigma": "0"}, "use a number above 0"),
        ("cmaes", {"restart_strategy": "ipop"}, "valid here: none"),
    ],
)
def test_a_setting_that_is_not_known_or_out_of_its_range(algorithm, changes, says):
    with pytest.raises(InvalidDocumentError) as caught:
        make_suggester(experiment(algorithm, RANGES, **changes))
    assert says in str(caught.value)
