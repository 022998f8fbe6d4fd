"""What tune_hyperparameters refuses before it creates anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from chandlery import provenance
from chandlery.errors import RecipeError, UserError
from chandlery.search.document import SearchParameters
from chandlery.steps.search import tune_hyperparameters as step
from tests.loading import ROOT, load_example

DIGITS = f"{ROOT}/examples/digits/recipe.py:Digits"


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dsl.Dataset:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(step, "_search", lambda *_: pytest.fail("a search began"))
    folder = load_example("digits").write(tmp_path / "data")["history-1"]
    record = provenance.Provenance(data_repo="digits", data_commit="c0ffee")
    return dsl.Dataset(name="dataset", uri=str(folder), metadata=record.metadata())


def tune(dataset: dsl.Dataset, recipe: str, **parameters: Any) -> Any:
    none: Any = None
    return step.tune_hyperparameters(
        dataset, SearchParameters(recipe=recipe, parameters=parameters), none, none, none
    )


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({"unit": 64}, "Digits has no parameter 'unit'"), ({"units": "many"}, "parameter units is 'many'")],
)
def test_fixed_parameters_that_the_recipe_does_not_take(
    dataset: dsl.Dataset, parameters: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        tune(dataset, DIGITS, **parameters)


@pytest.mark.slow
def test_recipe_that_breaks_its_contract(dataset: dsl.Dataset, tmp_path: Path) -> None:
    source = (ROOT / "examples/digits/recipe.py").read_text()
    broken = source.replace(
        'return {"digit": outputs.argmax(axis=1)', 'return {"digit": list(outputs.argmax(axis=1))'
    )
    assert broken != source
    (tmp_path / "recipe.py").write_text(broken)
    with pytest.raises(RecipeError, match="answer: 'digit' is list for 48 rows") as caught:
        tune(dataset, f"{tmp_path}/recipe.py:Digits")
    assert caught.value.hint == "return an array with a row for each row"
