"""What `fit` learns is read as it was written, and nothing in its files can run code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery import state as states
from chandlery.errors import ModelLoadError, RecipeError

ARRAYS = st.sampled_from(
    [
        np.arange(6.0).reshape(2, 3),
        np.array(["a", "bö", ""]),
        np.array([True]),
        np.empty(0),
        np.array([np.nan, np.inf]),
    ]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | ARRAYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and a.tobytes() == b.tobytes()
            and a.shape == b.shape
        )
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_written_and_read_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("state") / "state"
    checked = states.checked(state, "R.fit")
    states.save(checked, folder)
    found = states.load(folder)
    assert equal(found, checked)
    assert states.digest(found) == states.digest(checked)


def test_numpy_numbers_and_tuples_become_json() -> None:
    assert states.checked(
        {"n": np.float32(2), "t": (1, np.int64(2)), "o": np.array(["a"], object)}, "R.fit"
    ) == {
        "n": 2.0,
        "t": [1, 2],
        "o": np.array(["a"]),
    }


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ([1], "R.fit returned list"),
        ({1: 2}, "R.fit has the key 1"),
        ({"a": {"$array": 0}}, "has the key '$array'"),
        ({"a": {1, 2}}, "'a' is set, which cannot be saved"),
        ({"a": [0, print]}, "'a'[1] is builtin_function_or_method"),
        ({"a": float("nan")}, "'a' is nan"),
        ({"a": np.array([object()])}, "'a' is an array of object"),
    ],
)
def test_what_cannot_be_saved_is_refused(state: Any, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        states.checked(state, "R.fit")
    assert words in caught.value.message


class Malicious:
    """Runs code when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_planted_pickle_is_refused_and_not_run(tmp_path: Path, wrapped: bool) -> None:
    folder, trace = tmp_path / "state", tmp_path / "trace"
    states.save({"a": np.arange(3)}, folder)
    bad = Malicious(trace)
    if wrapped:
        np.savez(folder / states.ARRAYS, a0=np.array([bad], dtype=object))
    else:
        (folder / states.ARRAYS).write_bytes(pickle.dumps(bad))
    with pytest.raises(ModelLoadError, match="damaged state"):
        states.load(folder)
    assert not trace.exists()


def test_digest_tells_content_apart() -> None:
    digests = [
        states.digest(state)
        for state in (
            {},
            {"a": 1},
            {"a": 1.0},
            {"a": np.arange(2)},
            {"a": np.arange(2.0)},
            {"a": [0, 1]},
            {"b": 1},
        )
    ]
    assert len(set(digests)) == len(digests)
