"""The model package: whole, reproducible, and answering what the recipe answers in a plain session."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chandlery.errors import ModelLoadError
from chandlery.model import MANIFEST, LoadedModel, read_manifest, save_model
from chandlery.provenance import Provenance
from chandlery.recipe import Columns, LoadedRecipe, load_recipe
from chandlery.training.dataset import read_rows
from chandlery.training.fitting import Fit, fit
from tests.loading import ROOT, load_example

pytestmark = pytest.mark.slow
EXAMPLES = {"digits": "Digits", "departures": "Departures"}


def dataset(name: str, folder: Path) -> Path:
    data = load_example(name)
    if name == "digits":
        path: Path = data.write(folder)["history-1"]
        return path
    data.write(folder, rows=400)
    return folder


Case = tuple[LoadedRecipe, Columns, Fit, Path]


@pytest.fixture(scope="module", params=EXAMPLES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name = request.param
    loaded = load_recipe(f"{ROOT}/examples/{name}/recipe.py:{EXAMPLES[name]}")
    rows = read_rows(loaded.recipe, dataset(name, tmp_path_factory.mktemp(name)))
    result = fit(loaded, rows, {"epochs": 2}, seed=1)
    folder = tmp_path_factory.mktemp("package") / "model"
    save_model(folder, result.model, loaded, result.parameters, result.metrics, Provenance(data_commit="c1"))
    return loaded, rows, result, folder


def plain_session(model: Any, features: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [np.asarray(model(features[i : i + 1], training=False)) for i in range(len(features))]
    )


@pytest.mark.parametrize("count", [1, 2, 7, 32, 250])
def test_served_answers_are_the_recipes_bit_for_bit(case: Case, count: int) -> None:
    loaded, rows, result, folder = case
    request = {c.name: rows[c.name][:count] for c in loaded.recipe.inputs()}
    served = LoadedModel(folder, exact=True)
    session = plain_session(result.model, loaded.recipe.featurize(request))
    assert served.outputs(request).tobytes() == session.tobytes()
    answers = loaded.recipe.answer(session)
    for name, answer in served.answer(request).items():
        assert (answer.dtype, answer.tobytes()) == (answers[name].dtype, answers[name].tobytes())


def test_the_keras_file_holds_the_same_model(case: Case) -> None:
    import keras

    loaded, rows, _, folder = case
    features = loaded.recipe.featurize(rows)
    again = plain_session(keras.models.load_model(folder / "model.keras"), features)
    assert again.tobytes() == LoadedModel(folder, exact=True).forward(features).tobytes()


def test_the_manifest_says_what_it_is(case: Case) -> None:
    loaded, _, result, folder = case
    manifest = read_manifest(folder)
    assert manifest.recipe == f"recipe.py:{loaded.class_name}"
    assert manifest.parameters == result.parameters
    assert [column["name"] for column in manifest.inputs] == [c.name for c in loaded.recipe.inputs()]
    assert LoadedModel(folder).provenance.data_commit == "c1"
    assert LoadedModel(folder).provenance.model_digest == manifest.digest
    assert "tensorflow" in (folder / "requirements.txt").read_text()


def test_saving_again_replaces_the_package_and_keeps_the_digest(case: Case, tmp_path: Path) -> None:
    loaded, _, result, folder = case
    target = tmp_path / "model"
    target.mkdir()
    (target / "stale").touch()
    (tmp_path / ".model.partial-1" / "saved_model").mkdir(parents=True)  # as a kill leaves it
    manifest = save_model(target, result.model, loaded, result.parameters, {}, Provenance())
    assert manifest.digest == read_manifest(folder).digest
    assert sorted(path.name for path in target.iterdir()) == sorted(path.name for path in folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "nothing half-written stays"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: (p / MANIFEST).unlink(), "is not a model package"),
        (lambda p: (p / MANIFEST).write_text("{"), "is not a model package"),
        (lambda p: (p / MANIFEST).write_text(json.dumps({"schema_version": 99})), "unknown schema version"),
        (lambda p: (p / MANIFEST).write_text(json.dumps({"schema_version": 1})), "damaged"),
        (lambda p: (p / "saved_model" / "saved_model.pb").write_bytes(b"x"), "TensorFlow cannot load"),
    ],
)
def test_a_damaged_package_is_refused(case: Case, tmp_path: Path, damage: object, words: str) -> None:
    import shutil

    broken = shutil.copytree(case[3], tmp_path / "model")
    damage(broken)  # type: ignore[operator]
    with pytest.raises(ModelLoadError, match=words):
        LoadedModel(broken)
