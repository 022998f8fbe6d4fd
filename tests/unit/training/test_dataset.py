"""Rows reach training checked: bad recipes and bad data end in two lines, not in a traceback."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chandlery.errors import ChandleryError, RecipeError, TrainingError
from chandlery.recipe import load_recipe, take
from chandlery.training.dataset import featurize, part_of, read_rows, size, split

Digits = type(load_recipe("examples/digits/recipe.py:Digits").recipe)
HEADER = ",".join([*(f"pixel_{i}" for i in range(64)), "label"]) + "\n"


def digits(rows: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "pixels": random.integers(0, 17, (rows, 64)).astype("float32"),
        "label": random.integers(0, 10, rows),
    }


@pytest.mark.parametrize(
    ("returned", "error", "words"),
    [
        ({"pixels": np.zeros((3, 64))}, RecipeError, "Broken.load: missing 'label'"),
        ({"pixels": np.zeros((3, 63)), "label": np.zeros(3)}, RecipeError, r"'pixels' has shape \(3, 63\)"),
        ({"pixels": np.zeros((3, 64)), "label": np.array(["1"] * 3)}, RecipeError, "'label' is <U1"),
        ({"pixels": np.full((3, 64), np.nan), "label": np.zeros(3)}, RecipeError, "not finite"),
        ({"pixels": np.zeros((0, 64)), "label": np.zeros(0)}, TrainingError, "has no rows"),
        ([1, 2], RecipeError, "load returned list"),
    ],
)
def test_what_load_returns_is_held_against_the_schema(
    tmp_path: Path, returned: Any, error: type[ChandleryError], words: str
) -> None:
    class Broken(Digits):  # type: ignore[valid-type, misc]
        def load(self, root: Path) -> Any:
            return returned

    with pytest.raises(error, match=words) as caught:
        read_rows(Broken(), tmp_path)
    assert len(str(caught.value).splitlines()) == 2


def test_a_file_with_a_wrong_type_names_the_recipes_method(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + ",".join(["x"] * 65) + "\n")
    with pytest.raises(RecipeError, match=r"Digits\.load raised ValueError"):
        read_rows(Digits(), tmp_path)


@pytest.mark.parametrize("content", [None, HEADER])
def test_an_empty_dataset_is_an_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "a.csv").write_text(content)
    with pytest.raises(TrainingError, match="has no rows"):
        read_rows(Digits(), tmp_path)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is not a folder"):
        read_rows(Digits(), tmp_path / "absent")


def test_too_few_rows_for_three_parts_is_an_error() -> None:
    with pytest.raises(TrainingError, match="none of them in the"):
        split(Digits(), digits(2))


def test_a_corrected_label_does_not_move_its_row() -> None:
    rows = digits(500)
    corrected = rows | {"label": (rows["label"] + 1) % 10}
    assert (part_of(Digits(), rows) == part_of(Digits(), corrected)).all()


def test_a_row_keeps_its_part_in_a_later_commit() -> None:
    later = digits(500)
    earlier = take(later, np.arange(200))
    assert (part_of(Digits(), later)[:200] == part_of(Digits(), earlier)).all()


def test_the_parts_are_disjoint_and_complete() -> None:
    rows = digits(400)
    parts = split(Digits(), rows)
    assert size(parts.train) + size(parts.validation) + size(parts.test) == 400
    assert size(parts.train) > size(parts.test) > 0


@pytest.mark.parametrize(
    "features",
    [
        np.zeros((5, 0)),
        np.zeros(5, "float32"),
        np.zeros((4, 2), "float32"),
        np.full((5, 1), np.inf, "float32"),
    ],
)
def test_features_of_another_form_are_refused(features: np.ndarray) -> None:
    class Broken(Digits):  # type: ignore[valid-type, misc]
        def featurize(self, rows: Any) -> np.ndarray:
            return features

    with pytest.raises(RecipeError, match="featurize returned"):
        featurize(Broken(), digits(5))


def test_featurize_never_sees_the_target() -> None:
    class Peeking(Digits):  # type: ignore[valid-type, misc]
        def featurize(self, rows: Any) -> np.ndarray:
            return rows["label"][:, None].astype("float32")

    with pytest.raises(RecipeError, match="KeyError: 'label'"):
        featurize(Peeking(), digits(5))
