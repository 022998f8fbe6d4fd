"""A dataset that is read in chunks: the same rows in the same parts, whatever the chunks, and never all in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery.arrays import concatenate
from chandlery.errors import ChandleryError, RecipeError, TrainingError
from chandlery.recipe import Column, Columns, LoadedRecipe, Recipe, part_of, take
from chandlery.training.dataset import Chunks, open_rows, read_rows
from chandlery.training.fitting import fit
from chandlery.training.passes import StreamedData, open_data, shuffled

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(4000, 3))
WORDS = np.array(["ash", "birch", "cedar"])[RANDOM.integers(0, 3, 4000)]
ROWS: Columns = {
    "x": X,
    "word": WORDS,
    "y": X @ [1.0, -2.0, 0.5] + 0.1 * RANDOM.normal(size=4000) + 3 * (WORDS == "ash"),
}


class Streamed(Recipe):
    """A linear regression with a vocabulary that is learnt."""

    task = "regression"
    schema = (Column("x", "float64", (3,)), Column("word", "str"), Column("y"))
    target = "y"
    objective = "mae"
    slices = ("word",)
    defaults = {"epochs": 4, "batch_size": 32}  # noqa: RUF012
    shuffle_rows = 500
    chunk = 700
    seen: list[Columns]

    def __init__(self) -> None:
        self.seen = []

    def load(self, root: Path) -> Iterator[Columns]:
        for start in range(0, len(X), self.chunk):
            yield take(ROWS, slice(start, start + self.chunk))

    def fit(self, rows: Columns) -> dict[str, Any]:
        self.seen.append(rows)
        return {"mean": rows["x"].mean(axis=0), "words": np.unique(rows["word"])}

    def featurize(self, rows: Columns, state: dict[str, Any]) -> dict[str, np.ndarray]:
        known = np.searchsorted(state["words"], rows["word"]).clip(0, len(state["words"]) - 1)
        return {"x": (rows["x"] - state["mean"]).astype("float32"), "word": known.astype("int32")}

    def build(self, parameters: Any, features: Any, state: dict[str, Any]) -> Any:
        import keras

        x = keras.Input((3,), name="x")
        word = keras.Input((), name="word", dtype="int32")
        one_hot = keras.layers.CategoryEncoding(len(state["words"]), output_mode="one_hot")(word)
        model = keras.Model(
            {"x": x, "word": word}, keras.layers.Dense(1)(keras.layers.concatenate([x, one_hot]))
        )
        model.compile(keras.optimizers.Adam(0.02), "mse", jit_compile=False)
        return model

    def metrics(self, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        return {"mae": float(np.abs(outputs[:, 0] - truth).mean())}

    def answer(self, outputs: np.ndarray) -> Columns:
        return {"y": outputs[:, 0]}

    def wrong(self, prediction: float, truth: float) -> bool:
        return abs(prediction - truth) > 1


class Whole(Streamed):
    """The same in memory."""

    def load(self, root: Path) -> Columns:  # type: ignore[override]
        return ROWS


def loaded(recipe: Recipe) -> LoadedRecipe:
    return LoadedRecipe(recipe, "r.py:R@0", "0", Path(), "r.py")


def test_generator_is_streamed_and_a_dict_is_not(tmp_path: Path) -> None:
    assert isinstance(open_rows(Streamed(), tmp_path), Chunks)
    assert isinstance(open_rows(Whole(), tmp_path), dict)
    whole = read_rows(Streamed(), tmp_path)
    assert all(np.array_equal(whole[name], ROWS[name]) for name in ROWS)


@pytest.mark.parametrize("recipe", [Streamed(), Whole()], ids=["streamed", "whole"])
def test_fit_sees_the_training_split_alone(recipe: Streamed, tmp_path: Path) -> None:
    recipe.seen.clear()
    with open_data(recipe, open_rows(recipe, tmp_path)):
        pass
    training = take(ROWS, part_of(recipe, ROWS) == "train")
    (seen,) = recipe.seen
    assert sorted(map(tuple, seen["x"].tolist())) == sorted(map(tuple, training["x"].tolist()))


def test_sample_for_fit_depends_on_the_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chandlery.training.passes.FIT_ROWS", 300)

    def sample(chunk: int) -> set[tuple[float, ...]]:
        recipe = Streamed()
        recipe.chunk = chunk
        with open_data(recipe, open_rows(recipe, tmp_path)):
            return set(map(tuple, recipe.seen[0]["x"].tolist()))

    first = sample(700)
    assert len(first) == 300
    assert first == sample(1300)
    assert first <= set(map(tuple, take(ROWS, part_of(Streamed(), ROWS) == "train")["x"].tolist()))


def test_each_epoch_has_each_training_row_once_and_validation_is_the_split(tmp_path: Path) -> None:
    recipe = Streamed()
    with StreamedData(recipe, Chunks(recipe, tmp_path)) as data:
        for epoch in range(2):
            drawn = [y for _, y in data.batches(32, np.random.default_rng(epoch))]
            counts = Counter(np.concatenate([np.asarray(y) for y in drawn]).tolist())
            training = take(ROWS, part_of(recipe, ROWS) == "train")["y"]
            assert set(counts) <= set(training.tolist())
            assert max(counts.values()) == 1
            assert len(training) - sum(counts.values()) < 32
        held = take(ROWS, part_of(recipe, ROWS) == "validation")
        assert np.array_equal(data.validation().truth, held["y"])
        assert data.rows() == len(training)
        kept = data._kept
        assert any(kept.iterdir())
    assert not kept.exists()


def test_streamed_model_is_as_good_and_repeatable(tmp_path: Path) -> None:
    recipe = Streamed()
    first = fit(loaded(recipe), open_rows(recipe, tmp_path), {}, seed=3)
    again = fit(loaded(Streamed()), open_rows(Streamed(), tmp_path), {}, seed=3)
    memory = fit(loaded(Whole()), open_rows(Whole(), tmp_path), {}, seed=3)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(first.model.get_weights(), again.model.get_weights(), strict=True)
    )
    assert first.rows == memory.rows
    assert first.objective < 0.2
    assert memory.objective < 0.2


def test_what_load_raises_in_the_middle_of_training_comes_out_in_words(tmp_path: Path) -> None:
    class Breaks(Streamed):
        passes = 0

        def load(self, root: Path) -> Iterator[Columns]:
            type(self).passes += 1
            for index, chunk in enumerate(super().load(root)):
                if index == 3 and type(self).passes > 2:
                    raise OSError("the disk is gone")
                yield chunk

    with pytest.raises(RecipeError, match=r"Breaks\.load raised OSError: the disk is gone"):
        fit(loaded(Breaks()), open_rows(Breaks(), tmp_path), {})


@pytest.mark.parametrize(
    ("chunks", "error", "words"),
    [
        ([], TrainingError, "has no rows"),
        (
            [{"x": np.zeros((0, 3)), "word": np.zeros(0, "U1"), "y": np.zeros(0)}],
            TrainingError,
            "has no rows",
        ),
        ([[1, 2]], RecipeError, "yielded list as chunk 0"),
        ([ROWS, {"x": X}], RecipeError, "load, chunk 1: missing 'word'"),
        ([ROWS, ROWS | {"y": WORDS}], RecipeError, "load, chunk 1: 'y' is <U5"),
    ],
)
def test_chunks_of_another_form_are_refused(
    chunks: list[Any], error: type[ChandleryError], words: str, tmp_path: Path
) -> None:
    class Other(Streamed):
        def load(self, root: Path) -> Iterator[Columns]:
            yield from chunks

    with pytest.raises(error) as caught:
        list(open_rows(Other(), tmp_path))
    assert words in caught.value.message


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 40), max_size=12),
    st.integers(1, 20),
    st.integers(1, 60),
    st.integers(0, 2**32 - 1),
)
def test_shuffled_batches_hold_each_row_at_most_once(
    sizes: list[int], batch: int, buffer: int, seed: int
) -> None:
    total = sum(sizes)
    ends = np.cumsum([0, *sizes])
    parts = [(np.arange(a, b), np.arange(a, b)) for a, b in pairwise(ends) if b > a]
    found = list(shuffled(iter(parts), batch, buffer, np.random.default_rng(seed)))
    rows = np.concatenate([x for x, _ in found]) if found else np.empty(0, int)
    assert len(set(rows.tolist())) == len(rows)
    assert all(np.array_equal(x, y) for x, y in found)
    if total >= batch:
        assert all(len(x) == batch for x, _ in found)
        assert total - len(rows) < batch
    else:
        assert len(rows) == total


def texts(longest: int, chunks: int = 6, rows: int = 300) -> list[Columns]:
    """Return chunks of short texts, with one long one in the middle."""
    made = []
    for index in range(chunks):
        words = np.array([f"{index} {row}" for row in range(rows)])
        if index == chunks // 2:
            words = np.concatenate([words[:20], ["x" * longest]])
        made.append({"text": words, "y": np.arange(len(words))})
    return made


def test_a_long_text_does_not_widen_the_shuffle_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chandlery.training.passes.BUFFER_BYTES", 2**20)
    parts = [(part["text"], part["y"]) for part in texts(10_000)]
    held = largest = 0

    def joined(given: list[Any]) -> Any:
        nonlocal held, largest
        found = concatenate(given)
        held = found.nbytes
        largest = max(largest, held)
        return found

    monkeypatch.setattr("chandlery.training.passes.concatenate", joined)
    batches = list(shuffled(iter(parts), 16, 1000, np.random.default_rng(1)))
    drawn = np.concatenate([text for text, _ in batches])
    assert len(set(drawn.tolist())) == len(drawn) > 1500
    assert "x" * 10_000 in drawn
    assert largest < 4 * 10_000 * (21 + 2 * 16), "800 rows of that width would take 32 MB"
    assert batches[-1][0].dtype.itemsize < 100, "the room is given back"


def test_a_long_text_does_not_widen_the_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("chandlery.training.passes.SAMPLE_BYTES", 2**20)

    class Long(Streamed):
        schema = (Column("text", "str"), Column("y", "int64"))
        backwards = False

        def load(self, root: Path) -> Iterator[Columns]:
            chunks = texts(10_000)
            yield from (reversed(chunks) if self.backwards else chunks)

        def fit(self, rows: Columns) -> dict[str, Any]:
            self.seen.append(rows)
            return {}

        def featurize(self, rows: Columns, state: dict[str, Any]) -> np.ndarray:
            return np.zeros((len(rows["text"]), 1))

    recipe = Long()
    seen = []
    for backwards in (False, True):
        recipe.backwards = backwards
        with open_data(recipe, open_rows(recipe, tmp_path)):
            seen.append(recipe.seen[-1])
    assert set(seen[0]["text"].tolist()) == set(seen[1]["text"].tolist())
    assert 0 < len(seen[0]["text"]) <= 2**20 // 40_000
