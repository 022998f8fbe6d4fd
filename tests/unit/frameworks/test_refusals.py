"""A model file that would run code is refused and does not run; so is one that would read outside its arrays."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chandlery import frameworks
from chandlery.errors import ModelLoadError, RecipeError
from chandlery.frameworks.sklearn import SklearnModel
from chandlery.frameworks.xgboost import XGBoostModel
from chandlery.recipe import LoadedRecipe, load_recipe
from tests.unit.frameworks.test_adapters import BINARY, VALUE, X, train

SKLEARN = {"class": "chandlery.frameworks.sklearn:SklearnModel", "flavour": "sklearn"}
XGBOOST = {"class": "chandlery.frameworks.xgboost:XGBoostModel", "flavour": "xgboost"}


class Bomb:
    """A pickle of it makes a file when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.fixture
def fuse(tmp_path: Path) -> Path:
    """Folder that exists once a bomb has gone off."""
    return tmp_path / "ran"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeRegressor

    models = {
        "sklearn": (SklearnModel(LogisticRegression()), BINARY),
        "forest": (SklearnModel(RandomForestClassifier(3)), BINARY),
        "tree": (SklearnModel(DecisionTreeRegressor(max_depth=3)), VALUE),
        "boosted": (SklearnModel(HistGradientBoostingRegressor(max_iter=3)), VALUE),
        "xgboost": (XGBoostModel({"objective": "binary:logistic"}, 3), BINARY),
    }
    folders = {}
    for name, (model, labels) in models.items():
        train(model, X, labels)
        folders[name] = tmp_path_factory.mktemp("saved") / name
        frameworks.save(model, folders[name])
    return folders


@pytest.fixture
def copy(saved: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(saved[name], tmp_path / name))


def refuse(description: dict[str, str], folder: Path) -> ModelLoadError:
    with pytest.raises(ModelLoadError) as refused:
        frameworks.load(description, folder)
    assert refused.value.hint
    assert str(refused.value).count("\n") == 1
    return refused.value


def test_the_bomb_works(fuse: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(fuse)))
    assert fuse.is_dir()


FILES = [
    ("sklearn", "model.skops", SKLEARN),
    ("sklearn", "adapter.json", SKLEARN),
    ("xgboost", "model.json", XGBOOST),
    ("xgboost", "adapter.json", XGBOOST),
    ("sklearn", "beside.bin", SKLEARN),
]


@pytest.mark.parametrize(
    ("name", "file", "description"), FILES, ids=lambda v: v if isinstance(v, str) else ""
)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_in_place_of_a_file_is_refused_and_does_not_run(
    name: str, file: str, description: dict[str, str], protocol: int, copy: Callable[[str], Path], fuse: Path
) -> None:
    folder = copy(name)
    (folder / file).write_bytes(pickle.dumps(Bomb(fuse), protocol=protocol))
    if file == "beside.bin" and protocol < 2:
        frameworks.load(description, folder)  # text that nobody reads
    else:
        refuse(description, folder)
    assert not fuse.exists()


def test_a_joblib_file_is_refused(copy: Callable[[str], Path], fuse: Path) -> None:
    import joblib

    folder = copy("sklearn")
    joblib.dump(Bomb(fuse), folder / "model.skops")
    refuse(SKLEARN, folder)
    joblib.dump(Bomb(fuse), folder / "model.skops", compress=3)
    refuse(SKLEARN, folder)
    assert not fuse.exists()


def planted(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", "{}")
        archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["data.pkl", "1.npy", "x"])
def test_a_pickle_inside_an_archive_is_refused(name: str, copy: Callable[[str], Path], fuse: Path) -> None:
    data = pickle.dumps(Bomb(fuse))
    if name == "1.npy":
        buffer = io.BytesIO()
        np.save(buffer, np.array([Bomb(fuse)], dtype=object), allow_pickle=True)
        data = buffer.getvalue()
    folder = copy("sklearn")
    (folder / "model.skops").write_bytes(planted(name, data))
    assert "is a pickle" in refuse(SKLEARN, folder).message
    assert not fuse.exists()


def node(loader: str, fuse: Path) -> dict[str, Any]:
    """A node of a skops schema that makes os.mkdir, or calls it where its loader calls."""

    def text(value: str) -> dict[str, Any]:
        return {
            "__class__": "str",
            "__module__": "builtins",
            "__loader__": "JsonNode",
            "content": json.dumps(value),
            "is_json": True,
        }

    def sequence(kind: str, *items: Any) -> dict[str, Any]:
        name = {"tuple": "TupleNode", "list": "ListNode"}[kind]
        return {"__class__": kind, "__module__": "builtins", "__loader__": name, "content": list(items)}

    empty = {
        "__class__": "dict",
        "__module__": "builtins",
        "__loader__": "DictNode",
        "content": {},
        "key_types": sequence("list"),
    }
    arguments = sequence("tuple", text(str(fuse)))
    named = {"__class__": "mkdir", "__module__": "os", "__loader__": loader}
    function = {"__class__": "mkdir", "__module__": "os", "__loader__": "FunctionNode"}
    if loader == "PartialNode":
        content = {"func": function, "args": arguments, "kwds": empty, "namespace": empty}
        return named | {"__class__": "partial", "__module__": "functools", "content": content}
    if loader in ("TreeNode", "LossNode"):
        return named | {"__reduce__": {"args": arguments}, "content": empty}
    if loader == "MethodNode":
        return named | {"content": {"func": "mkdir", "obj": function}}
    if loader == "OperatorFuncNode":
        return named | {"__module__": "operator", "__class__": "methodcaller", "attrs": arguments}
    if loader == "ConstructorFromReduceNode":
        return named | {"content": arguments}
    if loader == "ObjectNode":
        return named | {"content": empty}
    return named | {"content": [text(str(fuse))], "type": "json", "shape": sequence("tuple", text("1"))}


LOADERS = [
    "FunctionNode",
    "TypeNode",
    "ObjectNode",
    "PartialNode",
    "ConstructorFromReduceNode",
    "MethodNode",
    "OperatorFuncNode",
    "TreeNode",
    "LossNode",
    "ListNode",
    "SetNode",
    "TupleNode",
    "NdArrayNode",
]


@pytest.mark.parametrize("protocol", [0, 1, 2])
@pytest.mark.parametrize("loader", LOADERS)
def test_an_archive_that_names_a_function_of_os_is_refused_and_does_not_run(
    loader: str, protocol: int, copy: Callable[[str], Path], fuse: Path
) -> None:
    folder = copy("sklearn")
    schema = node(loader, fuse) | {"protocol": protocol, "_skops_version": "0"}
    with zipfile.ZipFile(folder / "model.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    refuse(SKLEARN, folder)
    assert not fuse.exists()


def test_a_type_that_is_not_trusted_is_named(copy: Callable[[str], Path]) -> None:
    import skops.io
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    folder = copy("sklearn")
    skops.io.dump(make_pipeline(FunctionTransformer(os.system)), folder / "model.skops")
    assert "posix.system" in refuse(SKLEARN, folder).message


@pytest.mark.parametrize("data", [b"", b"PK", b"{}", b"\x00" * 100, planted("x", b"")])
@pytest.mark.parametrize(
    ("name", "file", "description"), FILES[:4], ids=lambda v: v if isinstance(v, str) else ""
)
def test_a_damaged_file_is_told_in_two_lines(
    name: str, file: str, description: dict[str, str], data: bytes, copy: Callable[[str], Path]
) -> None:
    folder = copy(name)
    (folder / file).write_bytes(data)
    refuse(description, folder)
    (folder / file).unlink()
    refuse(description, folder)


def forge(name: str, change: Callable[[Any], None], folder: Path) -> None:
    model = SklearnModel.load(folder)
    change(model.estimator)
    model.save(folder)


def set_nodes(tree: Any, **fields: Any) -> None:
    state = tree.__getstate__()
    for field, value in fields.items():
        if field in state:
            state[field] = value
        else:
            state["nodes"][field][0] = value
    tree.__setstate__(state)


FORGERIES: list[tuple[str, Callable[[Any], None]]] = [
    ("tree", lambda e: set_nodes(e.tree_, left_child=1_000_000)),
    ("tree", lambda e: set_nodes(e.tree_, right_child=-7)),
    ("tree", lambda e: set_nodes(e.tree_, left_child=0)),  # round and round
    ("tree", lambda e: set_nodes(e.tree_, feature=1_000_000)),
    ("tree", lambda e: set_nodes(e.tree_, feature=-3)),
    ("tree", lambda e: setattr(e, "n_features_in_", 1)),
    ("forest", lambda e: set_nodes(e.estimators_[2].tree_, left_child=1_000_000)),
    ("forest", lambda e: setattr(e, "n_features_in_", 1)),
    (
        "boosted",
        lambda e: e._predictors[1][0].nodes.__setitem__(0, _bad(e._predictors[1][0].nodes[0], "left")),
    ),
    (
        "boosted",
        lambda e: e._predictors[1][0].nodes.__setitem__(0, _bad(e._predictors[1][0].nodes[0], "feature_idx")),
    ),
    ("boosted", lambda e: setattr(e._predictors[0][0], "nodes", e._predictors[0][0].nodes[:0])),
]


def _bad(record: Any, field: str) -> Any:
    record = record.copy()
    record[field] = 1_000_000
    return record


@pytest.mark.parametrize(("name", "change"), FORGERIES, ids=range(len(FORGERIES)))
def test_a_forged_tree_is_refused_before_it_predicts(
    name: str, change: Callable[[Any], None], copy: Callable[[str], Path]
) -> None:
    folder = copy(name)
    forge(name, lambda estimator: None, folder)
    frameworks.load(SKLEARN, folder)  # the forger's tools alone change nothing
    forge(name, change, folder)
    assert "outside itself" in refuse(SKLEARN, folder).message


OWN = """
import json
from os import system
from subprocess import Popen
import numpy as np
from chandlery.frameworks.sklearn import SklearnModel
from chandlery.recipe import Column, Recipe
from tests.line import RECIPE


class Mean:
    flavour = ""

    def fit(self, features, labels, *, validation, seed):
        self.mean = labels.mean(axis=0)

    def predict(self, features):
        return np.full(len(features), self.mean)

    def save(self, folder):
        np.save(folder / "mean.npy", self.mean)

    @classmethod
    def load(cls, folder):
        model = cls()
        model.mean = np.load(folder / "mean.npy", allow_pickle=False)
        return model


class Pickled(Mean):
    def save(self, folder):
        import pickle
        (folder / "mean.bin").write_bytes(pickle.dumps(self.mean))


class Nothing(Mean):
    def save(self, folder):
        pass


class Broken(Mean):
    def save(self, folder):
        raise OSError("disk full")

    @classmethod
    def load(cls, folder):
        raise KeyError("mean")


def hidden():
    class Hidden(Mean):
        pass
    return Hidden()


exec(RECIPE)
Line.__module__ = __name__
"""


@pytest.fixture
def own(tmp_path: Path) -> LoadedRecipe:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "recipe.py").write_text(OWN)
    return load_recipe(f"{tmp_path}/recipe/recipe.py:Line")


def test_a_class_of_the_recipe_is_saved_and_loaded(own: LoadedRecipe, tmp_path: Path) -> None:
    module = sys.modules[type(own.recipe).__module__]
    model = module.Mean()
    model.fit(X, VALUE, validation=(X, VALUE), seed=0)
    description = frameworks.save(model, tmp_path / "m", module)
    assert description == {"class": "recipe:Mean", "flavour": ""}
    again = frameworks.load(description, tmp_path / "m", module)
    assert np.array_equal(again.predict(X), model.predict(X))
    by_name = frameworks.load(description, tmp_path / "m", module.__name__)
    assert np.array_equal(by_name.predict(X), model.predict(X))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda module: module.Pickled(), "is a pickle"),
        (lambda module: module.Nothing(), "wrote no file"),
        (lambda module: module.Broken(), "disk full"),
        (lambda module: module.hidden(), "cannot be found again"),
    ],
    ids=["pickle", "nothing", "broken", "hidden"],
)
def test_a_class_of_the_recipe_that_cannot_be_kept_is_refused(
    make: Callable[[Any], Any], message: str, own: LoadedRecipe, tmp_path: Path
) -> None:
    module = sys.modules[type(own.recipe).__module__]
    model = make(module)
    model.fit(X, VALUE, validation=(X, VALUE), seed=0)
    with pytest.raises(RecipeError, match=message):
        frameworks.save(model, tmp_path / "m", module)


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "recipe:system",
        "recipe:Popen",
        "recipe:np",
        "recipe:missing",
        "recipe:SklearnModel",  # imported there, but not of its files
        "recipe:Mean.load",
        "recipe:Line",  # no model
        "chandlery.frameworks.sklearn:SklearnModel.load",
        "chandlery.frameworks.sklearn:json",
        "chandlery.frameworks:load",
        "subprocess:Popen",
        "",
        None,
        7,
        ["os:system"],
    ],
    ids=str,
)
def test_a_manifest_names_nothing_but_adapters_and_the_recipes_classes(
    name: Any, own: LoadedRecipe, copy: Callable[[str], Path]
) -> None:
    folder = copy("sklearn")
    module = sys.modules[type(own.recipe).__module__]
    for given in (module, module.__name__, "no.such.module", None):
        with pytest.raises(ModelLoadError, match="not allowed"):
            frameworks.load({"class": name}, folder, given)
    with pytest.raises(ModelLoadError, match="not allowed"):
        frameworks.load({}, folder, module)


def test_a_class_that_cannot_load_is_told_in_two_lines(
    own: LoadedRecipe, copy: Callable[[str], Path]
) -> None:
    module = sys.modules[type(own.recipe).__module__]
    with pytest.raises(ModelLoadError, match="Broken cannot load the model: KeyError"):
        frameworks.load({"class": "recipe:Broken"}, copy("sklearn"), module)
    with pytest.raises(ModelLoadError, match="files are missing"):
        frameworks.load({"class": "recipe:Mean"}, Path("/no/such"), module)


@pytest.mark.parametrize(
    ("description", "extra", "module"), [(SKLEARN, "sklearn", "skops"), (XGBOOST, "xgboost", "xgboost")]
)
def test_a_missing_library_is_told_with_its_extra(
    description: dict[str, str],
    extra: str,
    module: str,
    copy: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib.util

    from chandlery.errors import MissingExtraError
    from chandlery.extras import extra_of

    folder = copy(extra)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    with pytest.raises(MissingExtraError) as refused:
        frameworks.load(description, folder)
    assert f"chandlery[{extra}]" in refused.value.hint
    assert extra_of(module) == extra
