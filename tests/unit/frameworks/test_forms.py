"""Every form in which a Keras model is served gives the plain session's answers: bit for bit, or within the tolerance."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chandlery.arrays import count, pick
from chandlery.errors import ModelLoadError
from chandlery.frameworks import litert
from chandlery.frameworks.arrays import TOLERANCE, difference
from chandlery.frameworks.keras import TracedModel, arrays, save, tensors

pytestmark = pytest.mark.slow
ROWS = (1, 2, 7, 32, 70)


def dense() -> Any:
    import keras
    from keras import layers

    hidden = [layers.Dense(256, activation="relu") for _ in range(3)]
    return keras.Sequential([keras.Input((64,)), *hidden, layers.Dense(10, activation="softmax")])


def recurrent() -> Any:
    import keras
    from keras import layers

    return keras.Sequential([keras.Input((40, 8)), layers.LSTM(32), layers.Dense(1)])


def convolutional() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )


def attention() -> Any:
    import keras
    from keras import layers

    given = keras.Input((16, 32))
    mixed = layers.LayerNormalization()(layers.MultiHeadAttention(4, 16)(given, given) + given)
    return keras.Model(given, layers.Dense(3)(layers.GlobalAveragePooling1D()(mixed)))


def several() -> Any:
    """Named arrays in and out, one of them whole numbers into an embedding; names as a recipe's author gives them."""
    import keras
    from keras import layers

    size, kind = keras.Input((4,), name="b size"), keras.Input((1,), dtype="int64", name="a-kind")
    joined = layers.Concatenate()([size, layers.Flatten()(layers.Embedding(9, 3)(kind))])
    return keras.Model(
        {"b size": size, "a-kind": kind},
        {"z": layers.Dense(2, activation="tanh")(joined), "a": layers.Dense(1)(joined)},
    )


MODELS: dict[str, Callable[[], Any]] = {
    build.__name__: build for build in (dense, recurrent, convolutional, attention, several)
}


def features_of(model: Any, rows: int) -> Any:
    random = np.random.default_rng(rows)

    def one(tensor: Any) -> np.ndarray:
        shape = (rows, *tensor.shape[1:])
        if "int" in str(tensor.dtype):
            return random.integers(0, 9, shape).astype(str(tensor.dtype))
        return random.normal(size=shape).astype("float32")

    if len(model.inputs) == 1:
        return one(model.inputs[0])
    return {tensor.name: one(tensor) for tensor in model.inputs}


def plain_session(model: Any, features: Any) -> Any:
    rows = [
        arrays(model(tensors(pick(features, slice(i, i + 1))), training=False))
        for i in range(count(features))
    ]
    if isinstance(rows[0], dict):
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    return np.concatenate(rows)


Case = tuple[Any, Path, dict[str, Any]]


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    import keras

    keras.utils.set_random_seed(3)
    model = MODELS[request.param]()
    folder = tmp_path_factory.mktemp(request.param)
    runtimes = save(model, features_of(model, 1), folder, features_of(model, 200))
    return model, folder, runtimes


def same_bits(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, dict):
        return all(ours[name].tobytes() == theirs[name].tobytes() for name in theirs)
    return bool(ours.tobytes() == theirs.tobytes())


@pytest.mark.parametrize("rows", ROWS)
def test_exact_is_the_plain_session_bit_for_bit(case: Case, rows: int) -> None:
    model, folder, _ = case
    features = features_of(model, rows)
    assert same_bits(TracedModel(folder, exact=True).predict(features), plain_session(model, features))


@pytest.mark.parametrize("rows", ROWS)
def test_a_batch_is_the_plain_session_within_the_tolerance(case: Case, rows: int) -> None:
    model, folder, _ = case
    features = features_of(model, rows)
    served = TracedModel(folder)
    assert not served.exact
    assert difference(served.predict(features), plain_session(model, features)) <= TOLERANCE


def test_compiled_forms_are_the_plain_session_within_the_tolerance(case: Case) -> None:
    model, folder, _ = case
    served = TracedModel(folder)
    times = served.tune(features_of(model, 1), 32, seconds=60)
    assert times is not None
    assert set(times["compiled"]) <= set(times["traced"])
    assert times["compiled"], "XLA wins for a single row of each of these"
    for rows in range(1, 40):  # padded ones, and more rows than any form has
        features = features_of(model, rows)
        outputs = served.predict(features)
        assert count(outputs) == rows
        assert difference(outputs, plain_session(model, features)) <= TOLERANCE, rows
    again = TracedModel(folder)
    assert again.tune(features_of(model, 1), 32, seconds=60, known=times) == times
    assert again._compiled is not None
    assert served._compiled is not None
    assert again._compiled._size_for == served._compiled._size_for, "what was remembered chooses alike"


def test_an_exact_model_is_never_compiled(case: Case) -> None:
    model, folder, _ = case
    assert TracedModel(folder, exact=True).tune(features_of(model, 1), 32, seconds=60) is None


@pytest.mark.parametrize("rows", ROWS)
def test_litert_is_the_plain_session_within_the_tolerance(case: Case, rows: int) -> None:
    model, folder, runtimes = case
    found = runtimes["litert"]
    assert found["verified"], found
    assert found["difference"] <= TOLERANCE
    assert found["rows"] == 200
    features = features_of(model, rows)
    outputs = litert.load(folder, found).predict(features)
    assert difference(outputs, plain_session(model, features)) <= TOLERANCE


def test_litert_refuses_features_of_another_shape(case: Case) -> None:
    model, folder, runtimes = case
    features = features_of(model, 2)
    name = next(iter(features)) if isinstance(features, dict) else ""
    wrong = np.zeros((2, 3, 3, 3, 3), "float32")
    with pytest.raises(ValueError, match=r"have shape \[3, 3, 3, 3\] a row"):
        litert.load(folder, runtimes["litert"]).predict({**features, name: wrong} if name else wrong)


def test_an_altered_file_is_refused(case: Case, tmp_path: Path) -> None:
    _, folder, runtimes = case
    content = bytearray((folder / litert.FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / litert.FILE).write_bytes(content)
    with pytest.raises(ModelLoadError, match="is not the file that was verified"):
        litert.load(tmp_path, runtimes["litert"])


def test_a_model_that_litert_computes_otherwise_is_not_kept(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(3)
    model = dense()
    features = features_of(model, 20)
    import tensorflow as tf

    def off(features: Any) -> Any:
        return arrays(model(tensors(features), training=False)) * np.float32(1.0001)

    found = litert.export(
        lambda features: model(features, training=False),
        tf.TensorSpec([None, 64], tf.float32, name="features"),
        features,
        tmp_path,
        off,
    )
    assert not found["verified"]
    assert "differ from TensorFlow's by 1.0e-04" in found["reason"]
    assert not (tmp_path / litert.FILE).exists()
    json.dumps(found)
    with pytest.raises(ModelLoadError, match="no model for the light runtime: its outputs differ"):
        litert.load(tmp_path, found)


def test_texts_stay_with_tensorflow(tmp_path: Path) -> None:
    import keras
    from keras import layers

    words = layers.StringLookup(vocabulary=["a", "b"])
    given = keras.Input((1,), dtype="string")
    model = keras.Model(given, layers.Dense(2)(layers.Flatten()(layers.Embedding(4, 2)(words(given)))))
    texts = np.array([["a"], ["b"], ["ü"]])
    found = save(model, texts, tmp_path, texts)["litert"]
    assert not found["verified"]
    assert found["reason"].startswith("LiteRT cannot ")
    served = TracedModel(tmp_path)
    times = served.tune(texts[:1], 8, seconds=10)
    assert times is not None
    assert not times["compiled"]
    assert difference(served.predict(texts), plain_session(model, texts)) <= TOLERANCE


def test_a_text_beside_numbers_is_not_compiled(tmp_path: Path) -> None:
    """XLA aborts the process at a text that is one of several inputs."""
    import keras
    from keras import layers

    word, size = keras.Input((1,), dtype="string", name="word"), keras.Input((2,), name="size")
    known = layers.Embedding(4, 2)(layers.StringLookup(vocabulary=["a", "b"])(word))
    model = keras.Model(
        {"word": word, "size": size}, layers.Dense(2)(layers.Concatenate()([layers.Flatten()(known), size]))
    )
    features = {"word": np.array([["a"], ["ü"]]), "size": np.ones((2, 2), "float32")}
    save(model, features, tmp_path)
    served = TracedModel(tmp_path)
    assert served.tune(pick(features, slice(0, 1)), 8, seconds=10) == {"traced": {}, "compiled": {}}
    assert difference(served.predict(features), plain_session(model, features)) <= TOLERANCE


def test_a_package_of_before_answers_row_by_row(tmp_path: Path) -> None:
    import tensorflow as tf

    from chandlery.frameworks.keras import TRACED, _serving_module

    model = dense()
    module, _ = _serving_module(model, None)
    del module.serve_batch
    tf.saved_model.save(module, str(tmp_path / TRACED))
    served = TracedModel(tmp_path)
    features = features_of(model, 7)
    assert served.exact
    assert same_bits(served.predict(features), plain_session(model, features))


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([[1.0, 2.0]], [[1.0, 2.0]], 0.0),
        ([[1.0, 2.2]], [[1.0, 2.0]], 0.1),
        ([[1.0], [0.0]], [[1.0], [0.1]], 0.1 / np.sqrt(1.01 / 2)),  # a row that is small beside the others
        ([[np.nan]], [[np.nan]], 0.0),
        ([[np.nan]], [[1.0]], np.inf),
        ([[1.0]], [[np.inf]], np.inf),
        ([[0.0]], [[0.0]], 0.0),
        ([[1.0]], [[1.0, 1.0]], np.inf),
    ],
)
def test_difference(ours: Any, theirs: Any, expected: float) -> None:
    assert difference(np.array(ours), np.array(theirs)) == pytest.approx(expected)


def test_difference_of_whole_numbers_and_names() -> None:
    one, two = np.array([1, 2]), np.array([1, 3])
    assert difference(one, one) == 0
    assert difference(one, two) == np.inf
    assert difference({"a": one}, {"b": one}) == np.inf
    assert difference({"a": one}, one) == np.inf
    assert difference({"a": one, "b": np.array([2.0])}, {"a": one, "b": np.array([2.5])}) == pytest.approx(
        0.2
    )
