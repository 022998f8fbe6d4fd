"""Hyperparameters from the command line and from KFP become the same typed values."""

from typing import Any

import pytest

from chandlery.errors import UserError
from chandlery.recipe import Parameter, load_recipe
from chandlery.training.parameters import complete, parse

RECIPE = load_recipe("examples/departures/recipe.py:Departures").recipe


def test_text_and_floats_give_the_same_values() -> None:
    text = complete(RECIPE, {"units": "64", "layers": "2", "learning_rate": "0.01", "epochs": "3"})
    floats = complete(RECIPE, {"units": 64.0, "layers": 2.0, "learning_rate": 0.01, "epochs": 3.0})
    assert text == floats
    assert [type(text[name]) for name in ("units", "layers", "learning_rate", "epochs")] == [
        int,
        int,
        float,
        int,
    ]


def test_defaults_are_filled_in_and_names_sorted() -> None:
    values = complete(RECIPE, {})
    assert list(values) == sorted(values)
    assert (values["units"], values["activation"], values["patience"]) == (48, "relu", 6)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"unit": 3}, "no parameter 'unit'"),
        ({"units": 3.5}, "whole number"),
        ({"units": "many"}, "takes a number"),
        ({"layers": 4}, "valid values: 1, 2, 3"),
        ({"activation": "step"}, "valid values: relu, gelu"),
        ({"epochs": 0}, "use 1 or more"),
        ({"batch_size": -1}, "use 1 or more"),
        ({"patience": -1}, "use 0 or more"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        complete(RECIPE, given)
    assert words in str(caught.value)


def test_fractional_choices_survive_text() -> None:
    class Halves(type(RECIPE)):  # type: ignore[misc]
        search_space = (Parameter("rate", "discrete", values=(0.5, 0.25)),)

    assert complete(Halves(), {"rate": "0.50"})["rate"] == 0.5


def test_assignments_are_split_at_the_first_equals_sign() -> None:
    assert parse(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(UserError, match="not name=value"):
        parse(["a"])
