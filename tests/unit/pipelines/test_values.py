"""Parameter values: texts as Go writes them, types as KFP's driver checks them; conditions and selectors in CEL."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.embedded.pipelines import expressions, values
from chandlery.embedded.pipelines.expressions import ExpressionError
from chandlery.embedded.pipelines.values import WrongValueError

numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | numbers | st.text(max_size=20)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(trees)
def test_a_value_survives_its_text(value: Any) -> None:
    plain = values.plain(value)
    assert values.plain(plain) == plain
    if isinstance(plain, dict | list):
        assert json.loads(values.text_of(plain)) == plain
        assert (
            values.value_of(values.text_of(plain), "LIST" if isinstance(plain, list) else "STRUCT", "x")
            == plain
        )


@given(numbers)
def test_a_number_survives_its_text_without_an_exponent(number: float) -> None:
    text = values.text_of(number)
    assert "e" not in text
    assert float(text) == float(number)
    assert values.value_of(text, "NUMBER_DOUBLE", "x") == float(number)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.0, "2"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (1.5e300, "15" + "0" * 299),
        (True, "true"),
        (None, ""),
        ("x", "x"),
        ([1.0, None], "[1,null]"),
        (-3, "-3"),
    ],
)
def test_texts(value: Any, text: str) -> None:
    assert values.text_of(value) == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("x", "NUMBER_INTEGER"),
        ("1.5", "NUMBER_INTEGER"),
        ("", "NUMBER_DOUBLE"),
        ("yes", "BOOLEAN"),
        ("{}", "LIST"),
        ("[]", "STRUCT"),
        ("{", "STRUCT"),
    ],
)
def test_output_of_another_type(text: str, kind: str) -> None:
    with pytest.raises(WrongValueError):
        values.value_of(text, kind, "x")


@pytest.mark.parametrize("value", [True, 1, 1.5, "x", [1], {"a": 1}])
@pytest.mark.parametrize("kind", ["STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE", "BOOLEAN", "LIST", "STRUCT"])
def test_only_a_text_takes_other_types(value: Any, kind: str) -> None:
    fits = {"BOOLEAN": bool, "LIST": list, "STRUCT": dict}.get(kind)
    right = (
        isinstance(value, fits) if fits else isinstance(value, int | float) and not isinstance(value, bool)
    )
    if kind == "STRING":
        assert values.typed(value, kind, "x") == values.text_of(value)
    elif right:
        assert values.typed(value, kind, "x") == value
    else:
        with pytest.raises(WrongValueError):
            values.typed(value, kind, "x")


def test_items_of_a_loop() -> None:
    assert values.items_of("[1, 2]", "x") == [1, 2]
    for wrong in ("{}", "x", 3, None):
        with pytest.raises(WrongValueError):
            values.items_of(wrong, "x")


def test_a_literal_is_one_of_those_allowed() -> None:
    assert values.checked_literal(2, [1.0, 2.0], "x") == 2
    with pytest.raises(WrongValueError, match="x is '3'"):
        values.checked_literal(3, [1.0, 2.0], "x")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("inputs.parameter_values['s'] == 'heads'", True),
        ("!(inputs.parameter_values['s'] == 'heads') && inputs.parameter_values['b'] == true", False),
        ("int(inputs.parameter_values['n']) >= 5", True),
        ("inputs.parameter_values['n'] > 4.5", True),
        ("int(inputs.parameter_values['n']) != 5 || inputs.parameter_values['b'] == true", True),
        ("inputs.parameter_values['s'] == 'it''s'", None),
        ("inputs.parameter_values['none'] == 'x'", None),
        ("inputs.parameter_values['n'] > 'a'", None),
        ("inputs.parameter_values['s']", None),
        ("(", None),
    ],
)
def test_conditions(condition: str, holds: bool | None) -> None:
    parameters = {"s": "heads", "b": True, "n": 5}
    if holds is None:
        with pytest.raises(ExpressionError) as error:
            expressions.holds(condition, parameters)
        assert "\n" not in error.value.message
    else:
        assert expressions.holds(condition, parameters) is holds


def test_selectors() -> None:
    item = {"a": 1, "B b": [True], "c": {"d": None}}
    assert expressions.select(item, 'parseJson(string_value)["a"]') == 1
    assert expressions.select(json.dumps(item), 'parseJson(string_value)["B b"]') == [True]
    assert expressions.select(item, 'parseJson(string_value)["c"]["d"] == null') is True
    with pytest.raises(ExpressionError, match="no field 'x'"):
        expressions.select(item, 'parseJson(string_value)["x"]')


def test_infinity_stays_what_it_is() -> None:
    assert math.isinf(values.plain(math.inf))
