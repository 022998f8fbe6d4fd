"""The examples' data is what their documents say, and each recipe keeps its contract without TensorFlow."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chandlery.errors import RecipeError
from chandlery.recipe import Columns, Recipe, learn, load_recipe, take
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


# Example, class of its recipe, and the arguments of its generator.
NEW = [("news", "News"), ("shapes", "Shapes"), ("orders", "Orders"), ("deliveries", "Deliveries")]


def example(name: str, cls: str, folder: Path, rows: int = 600, seed: int = 1) -> tuple[Recipe, Columns]:
    """Return the recipe of an example, and rows of its data."""
    load_example(name).write(folder, rows, seed)
    recipe = load_recipe(f"examples/{name}/recipe.py:{cls}").recipe
    return recipe, read_rows(recipe, folder)


@pytest.mark.parametrize(("name", "cls"), NEW)
def test_generators_depend_on_the_seed_alone(name: str, cls: str, tmp_path: Path) -> None:
    recipe, first = example(name, cls, tmp_path / "a", 50)
    _, again = example(name, cls, tmp_path / "b", 50)
    _, other = example(name, cls, tmp_path / "c", 50, 2)
    assert size(first) == 50
    assert {c.name for c in recipe.schema} == set(first)
    assert all(np.array_equal(first[n], again[n], equal_nan=first[n].dtype.kind == "f") for n in first)
    assert any(not np.array_equal(first[n], other[n]) for n in first)


@pytest.mark.parametrize("name", ["digits", "departures", *(name for name, _ in NEW)])
def test_generators_run_as_the_readme_says(name: str, tmp_path: Path) -> None:
    text = (ROOT / "examples" / name / "README.md").read_text()
    (line,) = re.findall(rf"^python (examples/{name}/data\.py \S+.*)$", text, re.MULTILINE)[:1]
    script, _, *options = shlex.split(line)
    options = [re.sub("^[0-9]+$", "30", word) for word in options]
    command = [sys.executable, script, str(tmp_path / "data"), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=True)
    assert str(tmp_path / "data") in done.stdout
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


@pytest.mark.parametrize(("name", "cls"), NEW)
def test_readme_names_commands_that_are_there(name: str, cls: str) -> None:
    text = (ROOT / "examples" / name / "README.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for words in map(shlex.split, block.splitlines()):
        named = [word for word in words if word.startswith("examples/")]
        assert all((ROOT / word.partition(":")[0]).is_file() for word in named)
        assert words[0] in ("python", "chandlery")
        if words[1] == "-m":
            assert importlib.util.find_spec(words[2])
        for reference in (word for word in named if ":" in word):
            load_recipe(reference)


@pytest.mark.parametrize(
    ("name", "cls", "lines"),
    [
        ("news", "News", 100),
        ("shapes", "Shapes", 100),
        ("orders", "Orders", 160),
        ("deliveries", "Deliveries", 110),
    ],
)
def test_recipes_are_short(name: str, cls: str, lines: int) -> None:
    assert len((ROOT / "examples" / name / "recipe.py").read_text().splitlines()) < lines


def test_news_has_words_that_training_never_sees(tmp_path: Path) -> None:
    recipe, rows = example("news", "News", tmp_path)
    part = part_of(recipe, rows)
    state = learn(recipe, take(rows, part == "train"))
    features = featurize(recipe, rows, state)
    assert features.dtype == np.int32
    unknown = (features == 1).any(axis=1)
    assert unknown[part == "test"].mean() > 0.9
    assert features.max() == len(state["vocabulary"]) + 1


@pytest.mark.parametrize(
    "text", ["", " ", "...", "Zzyzx", "sea " * 20_000, "a\0b", "\U0001f6a2 Ærø", "\u200b"]
)
def test_news_takes_any_text(text: str, tmp_path: Path) -> None:
    recipe, rows = example("news", "News", tmp_path)
    state = learn(recipe, rows)
    alone = featurize(recipe, {"text": np.array([text])}, state)
    assert (alone.dtype, alone.shape) == (np.int32, (1, 24))
    among = featurize(recipe, {"text": np.array([rows["text"][0], text, "x"])}, state)
    assert np.array_equal(alone[0], among[1])


def test_orders_are_written_as_an_office_writes_them(tmp_path: Path) -> None:
    recipe, rows = example("orders", "Orders", tmp_path, 3000)
    raw = (tmp_path / "orders.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfordered;due;")
    assert re.search(rb";[0-9]+,[0-9]{2};", raw)
    for name in ("amount", "weight", "earlier_orders"):
        missing = np.isnan(rows[name]).mean()
        assert 0.02 < missing < 0.2, name
        assert np.nanmax(rows[name]) > 3
    train = part_of(recipe, rows) == "train"
    assert set(rows["customer"][~train]) - set(rows["customer"][train]), "a kind that training has not seen"


def test_orders_features_have_no_gap_and_refuse_what_is_no_date(tmp_path: Path) -> None:
    recipe, rows = example("orders", "Orders", tmp_path, 300)
    state = learn(recipe, rows)
    row = take(rows, slice(0, 1))
    nothing = {"amount": np.nan, "weight": np.nan, "earlier_orders": np.nan, "customer": "lighthouse"}
    gaps = row | {name: np.array([value]) for name, value in nothing.items()}
    assert np.isfinite(featurize(recipe, gaps, state)).all()
    with pytest.raises(RecipeError, match=r"refused rows of the data: '31\.3\.2026' is not a date"):
        featurize(recipe, row | {"due": np.array(["31.3.2026"])}, state)


def test_a_delivery_is_wrong_by_either_target() -> None:
    wrong = load_recipe("examples/deliveries/recipe.py:Deliveries").recipe.wrong
    truth = {"price": 100.0, "days": 4.0}
    assert not wrong({"price": 110.0, "days": 5.0}, truth)
    assert wrong({"price": 130.0, "days": 4.0}, truth)
    assert wrong({"price": 100.0, "days": 6.0}, truth)
