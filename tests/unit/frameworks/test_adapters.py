"""What an adapter has learnt is on disk: another process predicts the same to the last bit, and training is repeatable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chandlery import frameworks
from chandlery.errors import RecipeError, TrainingError
from chandlery.frameworks.sklearn import SklearnModel
from chandlery.frameworks.xgboost import XGBoostModel

ROWS = 240
generator = np.random.default_rng(0)
X = generator.normal(size=(ROWS, 4))
BINARY = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)
THREE = BINARY + (X[:, 2] > 0)
TABLE = np.column_stack([BINARY, X[:, 2] > 0]).astype(int)
VALUE = X[:, 0] * 2 + X[:, 3]
NAMED = {"a": X[:, 0], "port": np.array(["Åre", "Bay", "Cork"])[THREE], "rest": X[:, 1:3]}
TEXT = np.array(["good boat", "bad boat", "sea"])[THREE]


def part(data: Any, rows: slice) -> Any:
    return {n: v[rows] for n, v in data.items()} if isinstance(data, Mapping) else data[rows]


def train(model: Any, features: Any, labels: Any, seed: int = 3) -> list[Mapping[str, float]]:
    training, validation = slice(0, 180), slice(180, ROWS)
    figures: Iterable[Mapping[str, float]] | None = model.fit(
        part(features, training),
        part(labels, training),
        validation=(part(features, validation), part(labels, validation)),
        seed=seed,
    )
    return list(figures or [])


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    return bool(one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes())


def shapes(outputs: Any) -> Any:
    return {n: v.shape for n, v in outputs.items()} if isinstance(outputs, Mapping) else outputs.shape


def estimator(name: str) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import (
        GradientBoostingRegressor,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
        VotingClassifier,
    )
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(add_indicator=True), ["a", "rest_0"]),
            ("text", OneHotEncoder(handle_unknown="ignore"), ["port"]),
        ],
        remainder="passthrough",
    )
    return {
        "forest": RandomForestClassifier(8),
        "boosted": HistGradientBoostingClassifier(max_iter=8),
        "gradient": GradientBoostingRegressor(n_estimators=8, subsample=0.5),
        "network": MLPClassifier((6,), max_iter=10),
        "ridge": Ridge(),
        "logistic": LogisticRegression(),
        "columns": make_pipeline(columns, LogisticRegression()),
        "text": make_pipeline(TfidfVectorizer(stop_words="english"), LogisticRegression()),
        "several": MultiOutputClassifier(LogisticRegression()),
        "voting": VotingClassifier(
            [("a", LogisticRegression()), ("b", RandomForestClassifier(3))], voting="soft"
        ),
    }[name]


def xgb(objective: str, **more: Any) -> XGBoostModel:
    return XGBoostModel({"objective": objective, "max_depth": 3, "subsample": 0.7, **more}, rounds=8)


Make = Callable[[], Any]
CASES: dict[str, tuple[Make, Any, Any, Any]] = {
    "forest": (lambda: SklearnModel(estimator("forest")), X, BINARY, (60, 2)),
    "three classes": (lambda: SklearnModel(estimator("boosted")), X, THREE, (60, 3)),
    "values": (lambda: SklearnModel(estimator("gradient")), X, VALUE, (60,)),
    "network": (lambda: SklearnModel(estimator("network")), X, BINARY, (60, 2)),
    "named columns": (lambda: SklearnModel(estimator("columns")), NAMED, BINARY, (60, 2)),
    "texts": (lambda: SklearnModel(estimator("text")), TEXT, THREE, (60, 3)),
    "multilabel forest": (lambda: SklearnModel(estimator("forest")), X, TABLE, (60, 2)),
    "multilabel": (lambda: SklearnModel(estimator("several")), X, TABLE, (60, 2)),
    "voting": (lambda: SklearnModel(estimator("voting")), X, BINARY, (60, 2)),
    "named classes": (
        lambda: SklearnModel(estimator("forest")),
        X,
        {"u": BINARY, "v": THREE},
        {"u": (60, 2), "v": (60, 3)},
    ),
    "named values": (
        lambda: SklearnModel(estimator("ridge")),
        X,
        {"u": VALUE, "v": X[:, 1]},
        {"u": (60,), "v": (60,)},
    ),
    "xgboost": (lambda: xgb("binary:logistic"), X, BINARY, (60, 2)),
    "xgboost three": (lambda: xgb("multi:softmax"), X, THREE, (60, 3)),
    "xgboost values": (lambda: xgb("reg:squarederror"), X, VALUE, (60,)),
    "xgboost dart": (lambda: xgb("reg:squarederror", booster="dart", rate_drop=0.3), X, VALUE, (60,)),
    "xgboost linear": (
        lambda: XGBoostModel({"objective": "reg:squarederror", "booster": "gblinear"}, 8),
        X,
        VALUE,
        (60,),
    ),
    "xgboost multilabel": (lambda: xgb("binary:logistic"), X, TABLE, (60, 2)),
    "xgboost columns": (lambda: xgb("binary:logistic"), NAMED, BINARY, (60, 2)),
    "xgboost named": (
        lambda: xgb("binary:logistic"),
        NAMED,
        {"u": BINARY, "v": TABLE[:, 1]},
        {"u": (60, 2), "v": (60, 2)},
    ),
    "xgboost estimator": (lambda: XGBoostModel(xgb_classifier()), X, THREE, (60, 3)),
}


def xgb_classifier() -> Any:
    import xgboost

    return xgboost.XGBClassifier(n_estimators=8, max_depth=2, n_jobs=1, early_stopping_rounds=3)


@pytest.mark.parametrize("name", CASES)
def test_what_was_saved_predicts_to_the_last_bit(name: str, tmp_path: Path) -> None:
    make, features, labels, wanted = CASES[name]
    model = make()
    assert frameworks.is_trainable(model)
    assert isinstance(model, frameworks.TrainableModel)
    train(model, features, labels)
    description = frameworks.save(model, tmp_path / "model")
    assert description["flavour"] == model.flavour
    again = frameworks.load(description, tmp_path / "model")
    rows = part(features, slice(180, ROWS))
    outputs = model.predict(rows)
    assert shapes(outputs) == wanted
    assert same(again.predict(rows), outputs)
    # A row's outputs do not depend on the rows beside it.
    one = again.predict(part(rows, slice(7, 8)))
    assert shapes(one) == shapes(part(outputs, slice(7, 8)))
    if isinstance(one, Mapping):
        assert all(np.allclose(one[n], outputs[n][7:8], rtol=1e-12) for n in one)
    else:
        assert np.allclose(one, outputs[7:8], rtol=1e-12)
    frameworks.save(again, tmp_path / "again")
    assert frameworks.digest(tmp_path / "again") == frameworks.digest(tmp_path / "model")


@pytest.mark.parametrize("name", ["forest", "gradient", "xgboost", "xgboost estimator"])
def test_all_chance_comes_from_the_seed(name: str, tmp_path: Path) -> None:
    make = CASES[name][0] if name in CASES else CASES["values"][0]
    features, labels = (X, VALUE) if name == "gradient" else (X, BINARY)
    digests = []
    for index, seed in enumerate([3, 3, 4]):
        model = make()
        train(model, features, labels, seed)
        frameworks.save(model, tmp_path / str(index))
        digests.append(frameworks.digest(tmp_path / str(index)))
    assert digests[0] == digests[1]
    assert (digests[0] == digests[2]) == (name == "xgboost estimator")  # which samples nothing


def test_threads_train_and_one_predicts(tmp_path: Path) -> None:
    """Threads add up in the order in which they end: the last bits of an answer would change from call to call."""
    from sklearn.ensemble import RandomForestClassifier, VotingClassifier
    from sklearn.pipeline import make_pipeline

    for jobs in (1, 2):
        forest = RandomForestClassifier(40, n_jobs=jobs)
        model = SklearnModel(make_pipeline(VotingClassifier([("f", forest)], voting="soft")))
        train(model, X, BINARY)
        assert forest.n_jobs == jobs
        assert model.estimator[-1].estimators_[0].n_jobs == 1
        frameworks.save(model, tmp_path / str(jobs))
        again = SklearnModel.load(tmp_path / str(jobs))
        assert len({again.predict(X).tobytes() for _ in range(20)}) == 1
    assert same(SklearnModel.load(tmp_path / "1").predict(X), SklearnModel.load(tmp_path / "2").predict(X))


def test_a_second_fit_begins_anew() -> None:
    model, fresh = xgb("binary:logistic"), xgb("binary:logistic")
    train(model, X, THREE > 1)
    train(model, X, BINARY)
    train(fresh, X, BINARY)
    assert same(model.predict(X), fresh.predict(X))
    own, other = SklearnModel(estimator("forest")), SklearnModel(estimator("forest"))
    train(own, X, BINARY, seed=1)
    train(own, X, BINARY, seed=2)
    train(other, X, BINARY, seed=2)
    assert same(own.predict(X), other.predict(X))


def test_a_seed_that_the_recipe_sets_stays() -> None:
    from sklearn.ensemble import RandomForestClassifier

    one, other = (SklearnModel(RandomForestClassifier(5, random_state=9)) for _ in range(2))
    train(one, X, BINARY, seed=1)
    train(other, X, BINARY, seed=2)
    assert same(one.predict(X), other.predict(X))


def test_the_column_is_the_class_also_where_training_saw_no_row_of_it() -> None:
    labels = np.where(BINARY == 1, 3, 1)
    labels[-1] = 4  # in the validation rows alone
    model = SklearnModel(estimator("logistic"))
    train(model, X, labels)
    outputs = model.predict(X)
    assert outputs.shape == (ROWS, 5)
    assert not outputs[:, [0, 2, 4]].any()
    assert np.allclose(outputs.sum(axis=1), 1)


def test_a_label_that_training_never_saw_has_probability_zero() -> None:
    model = SklearnModel(estimator("forest"))
    train(model, X, np.column_stack([BINARY, np.zeros(ROWS, dtype=int)]))
    assert not model.predict(X)[:, 1].any()


def test_early_stopping_keeps_the_best_round() -> None:
    noise = np.random.default_rng(1).integers(0, 2, ROWS)
    model = XGBoostModel(
        {"objective": "binary:logistic", "eval_metric": ["auc", "logloss"]}, 200, early_stopping=4
    )
    figures = train(model, X, noise)
    losses = [entry["loss"] for entry in figures]
    assert len(losses) == int(np.argmin(losses)) + 1 + 4 < 200
    assert set(figures[0]) == {"training_loss", "loss", "training_auc", "auc"}
    kept = XGBoostModel({"objective": "binary:logistic"}, rounds=int(np.argmin(losses)) + 1)
    train(kept, X, noise)
    assert same(model.predict(X), kept.predict(X))


def test_more_is_better_where_the_metric_says_so() -> None:
    model = XGBoostModel(
        {"objective": "binary:logistic", "eval_metric": ["logloss", "auc"]}, 200, early_stopping=4
    )
    areas = [entry["auc"] for entry in train(model, X, BINARY)]
    assert len(areas) == int(np.argmax(areas)) + 1 + 4


def test_training_goes_on_as_the_figures_are_read() -> None:
    model = xgb("binary:logistic")
    figures = iter(model.fit(X, BINARY, validation=(X, BINARY), seed=1))
    next(figures)
    with pytest.raises(TrainingError, match="not trained"):
        model.predict(X)
    assert len(list(figures)) == 7
    assert model.predict(X).shape == (ROWS, 2)


def test_a_network_tells_its_loss_for_each_round() -> None:
    figures = train(SklearnModel(estimator("network")), X, BINARY)
    assert len(figures) == 10
    assert figures[-1]["training_loss"] < figures[0]["training_loss"]


def test_a_category_that_training_did_not_see_counts_as_missing() -> None:
    model = xgb("binary:logistic")
    train(model, NAMED, BINARY)
    rows = part(NAMED, slice(0, 4))
    outputs = model.predict(rows | {"port": np.array(["Oslo"] * 4)})
    assert same(outputs, model.predict(rows | {"port": np.array(["Rome"] * 4)}))
    assert not same(outputs, model.predict(rows | {"port": np.array(["Cork"] * 4)}))


def test_columns_are_found_by_name_in_any_order() -> None:
    model = xgb("binary:logistic")
    train(model, NAMED, BINARY)
    assert same(model.predict(dict(reversed(NAMED.items()))), model.predict(NAMED))
    with pytest.raises(TrainingError, match="no column 'port'"):
        model.predict({"a": NAMED["a"], "rest": NAMED["rest"]})


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(min_size=1, max_size=8).filter(lambda n: n != "x"),
    values=st.lists(st.text(max_size=6).filter(lambda v: "\0" not in v), min_size=6, max_size=20),
    numbers=st.lists(st.floats(width=32, allow_infinity=False), min_size=6, max_size=20),
)
def test_any_column_of_text_survives(
    tmp_path_factory: pytest.TempPathFactory, name: str, values: list[str], numbers: list[float]
) -> None:
    count = min(len(values), len(numbers))
    features = {name: np.array(values[:count]), "x": np.array(numbers[:count])}
    labels = np.arange(count) % 2
    model = XGBoostModel({"objective": "binary:logistic", "min_child_weight": 0}, 3)
    list(model.fit(features, labels, validation=(features, labels), seed=0))
    folder = tmp_path_factory.mktemp("case") / "model"
    again = frameworks.load(frameworks.save(model, folder), folder)
    assert same(again.predict(features), model.predict(features))


def test_columns_whose_names_xgboost_cannot_write_stay_apart(tmp_path: Path) -> None:
    features = {"a<": X[:, 0], "a[": X[:, 1], "a\f": X[:, 2]}
    model = xgb("binary:logistic")
    train(model, features, BINARY)
    again = frameworks.load(frameworks.save(model, tmp_path / "m"), tmp_path / "m")
    assert same(again.predict(features), model.predict(features))


def own_function(values: Any) -> Any:
    return values


class OwnStep:
    def fit(self, features: Any, labels: Any = None) -> OwnStep:
        return self

    def predict(self, features: Any) -> Any:
        return features

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}


def refused_estimators() -> dict[str, Callable[[], Any]]:
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    return {
        "lambda": lambda: make_pipeline(FunctionTransformer(lambda values: values), Ridge()),
        "own function": lambda: make_pipeline(FunctionTransformer(own_function), Ridge()),
        "own class": OwnStep,
        "search": lambda: GridSearchCV(
            Ridge(), {"alpha": [1.0]}, cv=__import__("sklearn").model_selection.KFold()
        ),
        "cache": lambda: make_pipeline(Ridge(), memory="/tmp/cache"),
        "not an estimator": lambda: object(),
        "a class": lambda: KNeighborsClassifier,
    }


@pytest.mark.parametrize(
    "name", ["lambda", "own function", "own class", "search", "cache", "not an estimator", "a class"]
)
def test_what_cannot_be_saved_safely_is_refused_before_training(name: str) -> None:
    made = refused_estimators()[name]()
    with pytest.raises(RecipeError) as refused:
        SklearnModel(made)
    assert refused.value.message.count("\n") == refused.value.hint.count("\n") == 0
    assert refused.value.hint


def test_what_only_training_brings_in_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    model = SklearnModel(KNeighborsClassifier(algorithm="kd_tree"))
    train(model, X, BINARY)
    with pytest.raises(RecipeError, match="KDTree") as refused:
        frameworks.save(model, tmp_path / "model")
    assert "brute" in refused.value.hint
    brute = SklearnModel(KNeighborsClassifier(algorithm="brute"))
    train(brute, X, BINARY)
    frameworks.save(brute, tmp_path / "brute")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "no objective"),
        ({"max_depth": 3}, "no objective"),
        ({"objective": print}, "is a function"),
        ({"objective": "binary:logistic", "callbacks": []}, "is a function"),
        ("binary:logistic", "not str"),
        (None, "not NoneType"),
    ],
)
def test_parameters_that_say_too_little_are_refused(parameters: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        XGBoostModel(parameters)


@pytest.mark.parametrize(
    ("make", "features", "labels", "message"),
    [
        (lambda: xgb("multi:softprob"), X, TABLE, "one target"),
        (lambda: xgb("binary:logistic"), X, THREE, "takes labels 0 and 1"),
        (lambda: xgb("binary:logistic"), TEXT, BINARY, "takes numbers"),
        (lambda: xgb("binary:logistic"), X, TEXT, "labels are"),
        (lambda: xgb("reg:squarederror"), {"a_1": X[:, 0], "a": X[:, :2]}, VALUE, "two columns 'a_1'"),
        (
            lambda: SklearnModel(estimator("ridge")),
            {"a": X[:, :2], "a_0": X[:, 0]},
            VALUE,
            "two columns 'a_0'",
        ),
        (lambda: xgb("no:such"), X, BINARY, "no:such"),
        (lambda: xgb("reg:squarederror"), X, np.full(ROWS, np.nan), "NaN"),
        (lambda: xgb("multi:softprob"), X, THREE - 1, "label"),
        (lambda: SklearnModel(estimator("forest")), X, TABLE * 2, "other than 0 and 1"),
        (lambda: SklearnModel(estimator("ridge")), TEXT, VALUE, "cannot be trained"),
        (lambda: SklearnModel(estimator("ridge")), X, {"u": TEXT}, "labels of 'u'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_trained_is_told_in_two_lines(
    make: Make, features: Any, labels: Any, message: str
) -> None:
    with pytest.raises(TrainingError, match=message) as refused:
        train(make(), features, labels)
    assert str(refused.value).count("\n") == 1


def test_an_estimator_alone_is_told_how_to_become_a_model() -> None:
    assert not frameworks.is_trainable(estimator("ridge"))
    assert "SklearnModel(model)" in frameworks.advice(estimator("ridge"))
    assert not frameworks.is_trainable(xgb_classifier())
    assert "XGBoostModel(model)" in frameworks.advice(xgb_classifier())
    assert not frameworks.is_trainable(SklearnModel)
    assert "Keras" in frameworks.advice(3)
