"""`-p key=value`: types, refusals, pinned recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.catalog import Input
from chandlery.cli.arguments import parse, pin_recipes
from chandlery.errors import RecipeError, UserError


def declare(name: str, kind: str, *, required: bool = False, artifact: bool = False) -> Input:
    return Input(name, kind, artifact, required, "", "")


ALL = [
    declare("text", "STRING"),
    declare("count", "NUMBER_INTEGER"),
    declare("rate", "NUMBER_DOUBLE"),
    declare("flag", "BOOLEAN"),
    declare("weights", "LIST"),
    declare("values", "STRUCT"),
]


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("text=a=b", "a=b"),
        ("text=", ""),
        ("count=3", 3),
        ("rate=1e-3", 0.001),
        ("flag=yes", True),
        ("flag=False", False),
        ("weights=[5, 25]", [5, 25]),
        ("values={units: 64}", {"units": 64}),
        ('values={"a": "b"}', {"a": "b"}),
    ],
)
def test_texts_become_the_declared_types(pair: str, expected: Any) -> None:
    assert parse([pair], ALL) == {pair.partition("=")[0]: expected}


@pytest.mark.parametrize(
    ("pairs", "message", "hint"),
    [
        (["text"], "no '='", "key=value"),
        (["cuont=3"], "no input named 'cuont'", "did you mean count?"),
        (["count=three"], "not a whole number", "NUMBER_INTEGER"),
        (["count=1.5"], "not a whole number", "NUMBER_INTEGER"),
        (["flag=perhaps"], "not true or false", "BOOLEAN"),
        (["weights={a: 1}"], "not a list", "LIST"),
        (["values=[1"], "not a structure", "STRUCT"),
        (["values={day: 2026-01-01}"], "not a structure", "STRUCT"),
    ],
)
def test_what_cannot_be_is_refused_in_two_lines(pairs: list[str], message: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(pairs, ALL)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message


def test_missing_and_artifact_inputs_are_named() -> None:
    with pytest.raises(UserError, match="missing: repo"):
        parse([], [declare("repo", "STRING", required=True)])
    with pytest.raises(UserError, match="'dataset' is an artifact"):
        parse([], [declare("dataset", "system.Dataset", required=True, artifact=True)])


@given(st.sampled_from([item.name for item in ALL]), st.text())
def test_any_text_is_taken_or_refused_as_a_users_mistake(name: str, text: str) -> None:
    try:
        arguments = parse([f"{name}={text}"], ALL)
    except UserError:
        return
    assert set(arguments) == {name}


def test_a_recipe_is_pinned_to_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = Path(__file__).parents[3] / "examples" / "digits" / "recipe.py"
    (tmp_path / "recipe.py").write_text(example.read_text())
    monkeypatch.chdir(tmp_path)
    before = pin_recipes({"recipe": "recipe.py:Digits", "repo": "digits"})
    assert before["recipe"].startswith(f"{tmp_path}/recipe.py:Digits@")
    assert before["repo"] == "digits"
    (tmp_path / "recipe.py").write_text(example.read_text() + "\n# changed\n")
    assert pin_recipes({"recipe": "recipe.py:Digits"}) != before
    with pytest.raises(RecipeError, match="was asked for"):
        pin_recipes(before)
    with pytest.raises(RecipeError, match="no file"):
        pin_recipes({"recipe": "nowhere.py:Digits"})
