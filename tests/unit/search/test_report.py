"""The report of a search, drawn for every kind of space and outcome."""

import csv
import io

import pytest

from chandlery.provenance import Provenance
from chandlery.resources.experiment_space import dimensions
from chandlery.search.experiment import SearchResult, TrialResult
from chandlery.search.report import build_report, parameter_importance, to_csv

PARAMETERS = [
    {
        "name": "rate",
        "parameterType": "double",
        "feasibleSpace": {"min": "0.001", "max": "1", "distribution": "logUniform"},
    },
    {"name": "units", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}},
    {"name": "fixed", "parameterType": "int", "feasibleSpace": {"min": "3", "max": "3"}},
    {"name": "size", "parameterType": "discrete", "feasibleSpace": {"list": ["16", "0.5"]}},
    {"name": "kind", "parameterType": "categorical", "feasibleSpace": {"list": ["<b>", "only, text"]}},
]


def search(*trials: TrialResult, maximise: bool = True) -> SearchResult:
    measured = [trial for trial in trials if trial.objective is not None]
    best = (max if maximise else min)(measured, key=lambda trial: trial.objective)
    document = {
        "metadata": {"name": "s", "managedFields": [1]},
        "spec": {"parameters": PARAMETERS},
        "status": {},
    }
    return SearchResult(
        "s", "accuracy", maximise, best.name, best.parameters, best.objective, trials, "done", document
    )


def trial(index: int, objective: float | None, state: str = "Succeeded", message: str = "") -> TrialResult:
    parameters = {
        "rate": 0.001 * 2**index,
        "units": 1 + index,
        "fixed": 3,
        "size": (16, 0.5)[index % 2],
        "kind": ("<b>", "only, text")[index % 2],
    }
    return TrialResult(f"s-{index:04d}", state, parameters, objective, 1.5, message)


MANY = (
    *(trial(i, i / 10) for i in range(6)),
    trial(6, None, "Failed", "exit code 1: <script>"),
    trial(7, 0.2, "EarlyStopped"),
)


@pytest.mark.parametrize("maximise", [True, False])
def test_the_page_shows_every_plot_and_names_the_best(maximise):
    page = build_report(search(*MANY, maximise=maximise), Provenance(data_commit="c0ffee")).html()
    assert page.count("<svg") == 3
    assert f"Best accuracy {0.5 if maximise else 0.0:.4f} in {'s-0005' if maximise else 's-0000'}" in page
    assert "c0ffee" in page
    assert "<script>" not in page
    assert "managedFields" not in page


@pytest.mark.parametrize(
    "trials",
    [
        (trial(0, 0.5),),
        tuple(trial(i, 0.5) for i in range(6)),  # no difference to explain
        (trial(0, None, "Failed"), trial(1, 0.5)),
    ],
)
def test_a_page_without_importance_says_why(trials):
    page = build_report(search(*trials), Provenance()).html()
    assert page.count("<svg") == 2
    assert "Not known" in page


def test_importance_finds_the_parameter_that_matters():
    trials = [trial(i, float((i % 2) == 0)) for i in range(8)]
    shares = parameter_importance(search(*trials), dimensions(PARAMETERS))
    assert "fixed" not in shares
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.get) in ("size", "kind")


def test_the_table_keeps_every_value_in_full():
    (first, *_, last) = csv.DictReader(
        io.StringIO(to_csv(search(trial(0, 1 / 3), trial(1, None, "Failed", "a, b"))))
    )
    assert first["accuracy"] == repr(1 / 3)
    assert (last["kind"], last["accuracy"], last["message"]) == ("only, text", "", "a, b")
