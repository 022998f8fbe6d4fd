"""The examples' data is what their documents say, and each recipe keeps its contract without TensorFlow."""

from pathlib import Path

import numpy as np
import pytest

from chandlery.recipe import load_recipe
from chandlery.training.dataset import featurize, part_of, read_rows, size
from tests.loading import ROOT, load_example


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return load_example("digits").write(tmp_path_factory.mktemp("digits"))


def test_digits_histories_grow_and_traffic_is_apart(digits: dict[str, Path]) -> None:
    recipe = load_recipe("examples/digits/recipe.py:Digits").recipe
    rows = {name: read_rows(recipe, folder) for name, folder in digits.items()}
    assert {name: size(part) for name, part in rows.items()} == {
        "history-1": 300,
        "history-2": 1297,
        "traffic": 500,
    }
    assert (digits["history-1"] / "digits-1.csv").read_bytes() == (
        digits["history-2"] / "digits-1.csv"
    ).read_bytes()
    history = {row.tobytes() for row in rows["history-2"]["pixels"]}
    assert not history & {row.tobytes() for row in rows["traffic"]["pixels"]}
    features = featurize(recipe, rows["traffic"])
    assert (features.shape, features.min(), features.max()) == ((500, 64), 0.0, 1.0)


def test_the_mislabelled_variant_changes_three_labels_and_nothing_else(digits: dict[str, Path]) -> None:
    good = load_recipe("examples/digits/recipe.py:Digits").recipe
    bad = load_recipe("examples/digits/recipe.py:MislabelledDigits").recipe
    true, false = (read_rows(recipe, digits["history-2"]) for recipe in (good, bad))
    assert (true["pixels"] == false["pixels"]).all()
    changed = true["label"] != false["label"]
    assert set(np.unique(true["label"][changed])) == {3, 4, 7}
    assert 0.25 < changed.mean() < 0.35
    assert (part_of(good, true) == part_of(bad, false)).all(), "the same rows are tested"


def test_the_digits_recipe_is_short() -> None:
    assert len((ROOT / "examples/digits/recipe.py").read_text().splitlines()) < 120


@pytest.mark.parametrize(("prediction", "truth", "wrong"), [(3, 3, False), (3.0, 3, False), (3, 8, True)])
def test_a_wrong_digit(prediction: float, truth: int, wrong: bool) -> None:
    assert load_recipe("examples/digits/recipe.py:Digits").recipe.wrong(prediction, truth) is wrong


def test_departures_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    data = load_example("departures")
    first, again = data.write(tmp_path / "a", 200, 7), data.write(tmp_path / "b", 200, 7)
    other = data.write(tmp_path / "c", 200, 8)
    assert first.read_bytes() == again.read_bytes() != other.read_bytes()
    with pytest.raises(ValueError, match="drift is 2"):
        data.generate(10, 1, drift=2)


def test_drift_turns_the_world(tmp_path: Path) -> None:
    data = load_example("departures")
    recipe = load_recipe("examples/departures/recipe.py:Departures").recipe
    data.write(tmp_path / "a", 4000, 1)
    data.write(tmp_path / "b", 4000, 1, drift=1.0)
    before, after = (read_rows(recipe, tmp_path / name) for name in "ab")
    assert before["bookings"].mean() > 1.2 * after["bookings"].mean(), "people book later"
    stormy = [rows["passengers"][rows["weather"] == "storm"].mean() for rows in (before, after)]
    assert stormy[1] < 0.9 * stormy[0], "more stay at home in a storm"
    assert (after["passengers"] <= after["capacity"]).all()


def test_departure_features_are_finite_and_know_no_unknown_route(tmp_path: Path) -> None:
    recipe = load_recipe("examples/departures/recipe.py:Departures").recipe
    load_example("departures").write(tmp_path, 50, 1)
    rows = read_rows(recipe, tmp_path)
    features = featurize(recipe, rows | {"route": np.array(["XXX-YYY"] * 50)})
    assert (features[:, :5] == 0).all()
    assert np.isfinite(features).all()
    assert recipe.labels(rows).shape == (50, 1)


@pytest.mark.parametrize(("prediction", "wrong"), [(240.0, False), (241.0, True), (159.0, True)])
def test_a_forecast_beyond_the_tolerance_is_wrong(prediction: float, wrong: bool) -> None:
    assert load_recipe("examples/departures/recipe.py:Departures").recipe.wrong(prediction, 200) is wrong
