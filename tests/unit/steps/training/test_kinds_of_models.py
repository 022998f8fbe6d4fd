"""The examples of other data and other models, each through the same steps: text, images, a dirty table, boosting, outputs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from kfp import dsl
from starlette.testclient import TestClient

from chandlery.arrays import pick
from chandlery.deployments.client import DeploymentAddress, curl_line
from chandlery.deployments.sample import sample_request
from chandlery.example import read_example
from chandlery.inference.app import create_app
from chandlery.inference.model import ChandleryModel
from chandlery.inference.settings import Settings
from chandlery.model import LoadedModel, read_manifest
from chandlery.recipe import Columns, LoadedRecipe, Recipe, load_recipe, part_of, take
from chandlery.steps.training import compare_models
from chandlery.steps.training.evaluate_model import evaluate_model
from chandlery.training.dataset import open_rows, read_rows
from chandlery.training.fitting import fit
from chandlery.training.outcomes import outcomes_on_test
from tests.loading import ROOT, load_example
from tests.unit.steps.training.test_steps import dataset_of, output, trained

pytestmark = pytest.mark.slow

# Example, recipe, rows of data, parameters, and what the objective on the test split must at least be better than.
KINDS = {
    "text": ("news", "News", 700, {"epochs": 4}, 0.8),
    "image": ("shapes", "Shapes", 500, {"epochs": 4, "filters": 8}, 0.7),
    "table": ("orders", "Orders", 1500, {"epochs": 8}, 0.6),
    "sklearn": ("orders", "BoostedOrders", 1500, {"rounds": 20}, 0.6),
    "xgboost": ("orders", "XGBoostOrders", 1500, {"rounds": 20}, 0.6),
    "outputs": ("deliveries", "Deliveries", 1500, {"epochs": 8}, 0.35),
}


class Trained:
    """A trained example.

    Attributes:
        recipe: its recipe.
        folder: its data.
        model: the Model artifact.
        loaded: its package.
        rows: all rows of the data.
        test: the statistical test by which two such models are compared.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        example, cls, rows, self.parameters, self.limit = KINDS[kind]
        self.reference = f"{ROOT}/examples/{example}/recipe.py:{cls}"
        self.recipe: Recipe = load_recipe(self.reference).recipe
        self.folder = folder / "data"
        load_example(example).write(self.folder, rows, 1)
        self.model = self.again(folder / "model")
        self.loaded = LoadedModel(Path(self.model.path))
        self.rows: Columns = read_rows(self.recipe, self.folder)
        self.test = "McNemar" if self.recipe.classifies() else "bootstrap of the gain"

    def again(self, folder: Path, seed: int = 1) -> dsl.Model:
        return trained(folder, dataset_of(self.folder, "c1"), self.reference, self.parameters, seed)

    def inputs(self, which: Any) -> Columns:
        return {column.name: self.rows[column.name][which] for column in self.recipe.inputs()}


@pytest.fixture(scope="module", params=list(KINDS))
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHANDLERY_HOME", str(tmp_path_factory.mktemp("home")))
        for name in ("MLFLOW_TRACKING_URI", "CHANDLERY_ARTIFACTS"):
            patch.delenv(name, raising=False)
        return Trained(request.param, tmp_path_factory.mktemp(request.param))


def test_model_is_good_on_rows_that_it_has_not_seen(example: Trained, tmp_path: Path) -> None:
    kinds = (dsl.Metrics, dsl.ClassificationMetrics, dsl.HTML)
    metrics, classification, report = (output(kind, tmp_path, kind.__name__) for kind in kinds)
    result = evaluate_model(
        dataset_of(example.folder, "c1"), example.model, 20, 0.9, 1, metrics, classification, report
    )
    better = (
        result.objective > example.limit if example.recipe.maximise() else result.objective < example.limit
    )
    assert better, result.objective
    assert result.rows == int((part_of(example.recipe, example.rows) == "test").sum())
    curves = json.loads(Path(classification.path).read_text())
    assert ("confusionMatrix" in curves) is example.recipe.classifies()
    assert "<svg" in Path(report.path).read_text() or not example.recipe.classifies()


def same(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal, but for the last digits of floats: batches and runtimes round otherwise (docs/serving.md)."""
    if np.asarray(theirs).dtype.kind != "f":
        return bool(np.array_equal(ours, theirs))
    return bool(np.allclose(ours, theirs, rtol=2e-5, atol=1e-6))


def test_exact_answers_are_alike_to_the_last_bit(example: Trained) -> None:
    exact = LoadedModel(Path(example.model.path), exact=True)
    whole = exact.answer(example.inputs(slice(0, 17)))
    for row in (0, 5, 16):
        alone = exact.answer(example.inputs(slice(row, row + 1)))
        assert all(np.array_equal(alone[name][0], values[row]) for name, values in whole.items())


def test_a_row_is_answered_alike_alone_and_among_others(example: Trained) -> None:
    whole = example.loaded.answer(example.inputs(slice(0, 17)))
    assert all(len(values) == 17 for values in whole.values())
    for row in (0, 5, 16):
        alone = example.loaded.answer(example.inputs(slice(row, row + 1)))
        assert all(same(alone[name][0], values[row]) for name, values in whole.items())


def test_the_same_training_gives_the_same_model(
    example: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    again = read_manifest(Path(example.again(tmp_path / "again").path))
    assert again.digest == example.loaded.manifest.digest
    if again.framework["flavour"] != "xgboost":  # which draws nothing at random without subsampling
        other = read_manifest(Path(example.again(tmp_path / "other", seed=2).path))
        assert other.digest != again.digest


def test_two_models_are_compared(example: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    champion = example.again(tmp_path / "champion", seed=3)
    if example.loaded.manifest.framework["flavour"] == "xgboost":  # which draws nothing at random
        monkeypatch.setattr(example, "parameters", example.parameters | {"depth": 2})
        champion = example.again(tmp_path / "other")
    monkeypatch.setattr(compare_models, "download", lambda name, version: Path(champion.path))
    report = output(dsl.HTML, tmp_path, "report")
    dataset = dataset_of(example.folder, "c1")
    found = compare_models.compare_models(dataset, example.model, "m", "1", 0.05, 0.05, 50, 1, report=report)
    assert found.decision in ("better", "worse")
    for score in (found.champion_score, found.challenger_score):
        assert score > example.limit if example.recipe.maximise() else score < example.limit
    page = Path(report.path).read_text()
    assert example.test in page


@pytest.fixture
def client(example: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    settings = Settings(
        model_uri=str(example.model.path), model_name="m", unit="m", predictor="v1", deployment="d", image="i"
    )
    model = ChandleryModel(settings=settings)
    model.load()
    with TestClient(create_app(model, settings), raise_server_exceptions=False) as made:
        yield made


V1, V2 = "/api/v1.0/predictions", "/v2/models/m/infer"


def test_both_protocols_answer_what_the_model_answers(example: Trained, client: Any) -> None:
    row = read_example(Path(example.model.path), example.recipe.inputs())
    wanted = {name: values.tolist() for name, values in example.loaded.answer(row).items()}
    sent = {name: values.tolist() for name, values in row.items()}
    answer = client.post(V1, json={"jsonData": sent})
    assert answer.status_code == 200, answer.text
    found = answer.json()["jsonData"]
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert same(np.array(found[name]), np.array(wanted[name]))
    kinds = {"str": "BYTES", "uint8": "UINT8", "float64": "FP64", "int64": "INT64"}
    inputs = [
        {
            "name": column.name,
            "shape": [1, *column.shape],
            "datatype": kinds[column.dtype],
            "data": np.ravel(sent[column.name]).tolist(),
        }
        for column in example.recipe.inputs()
    ]
    answer = client.post(V2, json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    assert [o["name"] for o in answer.json()["outputs"]] == list(wanted)
    for one in answer.json()["outputs"]:
        assert same(np.ravel(one["data"]), np.ravel(wanted[one["name"]]))


@pytest.mark.parametrize("protocol", ["seldon", "v2"])
def test_the_printed_line_is_answered(example: Trained, client: Any, protocol: str, tmp_path: Path) -> None:
    address = DeploymentAddress("http://gateway:1", "ns", "d", protocol, "m")
    row = sample_request(Path(example.model.path))
    words = shlex.split(curl_line(address, row, tmp_path))
    body = words[-1]
    if body.startswith("@"):
        body = Path(body[1:]).read_text()
    assert words[-1].startswith("@") is (example.recipe.inputs()[0].name == "image"), (
        "576 numbers are no line"
    )
    path = urlsplit(next(word for word in words if "://" in word)).path.removeprefix("/seldon/ns/d")
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    validation = take(example.rows, part_of(example.recipe, example.rows) == "validation")
    assert any(
        all(np.array_equal(row[c.name][0], validation[c.name][i]) for c in example.recipe.inputs())
        for i in range(len(validation[example.recipe.inputs()[0].name]))
    ), "it is a row of the validation data"


def test_odd_rows_are_answered_or_refused_in_words(example: Trained, client: Any) -> None:
    for column in example.recipe.inputs():
        odd: list[Any] = (
            ["", "x" * 50_000, "Ünseen \u0001 word", "\0"] if column.dtype == "str" else [0, 1e12, -1]
        )
        for value in odd:
            row = {name: values.tolist() for name, values in example.inputs(slice(0, 1)).items()}
            row = {name: [None if v != v else v for v in values] for name, values in row.items()}
            row[column.name] = np.full((1, *column.shape), value).tolist()
            answer = client.post(V1, json={"jsonData": row})
            assert answer.status_code in (200, 400), (column.name, value, answer.text[:300])


@pytest.mark.parametrize("example", ["table", "sklearn", "xgboost"], indirect=True)
def test_gaps_new_kinds_and_wrong_dates(example: Trained, client: Any) -> None:
    row = {name: values.tolist() for name, values in example.inputs(slice(0, 1)).items()}
    gaps = row | {"amount": [None], "weight": [None], "earlier_orders": [None], "customer": ["lighthouse"]}
    answer = client.post(V1, json={"jsonData": gaps})
    assert answer.status_code == 200
    wanted = answer.json()["jsonData"]["probability"]
    table = [[gaps[column.name][0] for column in example.recipe.inputs()]]
    answer = client.post(V1, json={"data": {"ndarray": table}})
    names, values = answer.json()["data"]["names"], answer.json()["data"]["ndarray"][0]
    assert dict(zip(names, values, strict=True))["probability"] == wanted[0]
    kinds = {"str": "BYTES", "float64": "FP64", "int64": "INT64"}
    inputs = [
        {"name": c.name, "shape": [1], "datatype": kinds[c.dtype], "data": gaps[c.name]}
        for c in example.recipe.inputs()
    ]
    answer = client.post(V2, json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    assert {o["name"]: o["data"] for o in answer.json()["outputs"]}["probability"] == wanted
    refused = client.post(V1, json={"jsonData": row | {"due": ["31.03.2026"]}})
    assert refused.status_code == 400
    assert "'31.03.2026' is not a date such as 2026-03-31" in refused.text


def test_state_comes_from_the_training_split_alone(example: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fit` sees the training rows, once, in training; evaluation, serving and comparison only read its state."""
    if type(example.recipe).fit is Recipe.fit:
        pytest.skip("this example learns nothing")
    training = take(example.rows, part_of(example.recipe, example.rows) == "train")
    seen: list[Columns] = []
    usual = type(example.recipe).fit

    def watched(self: Recipe, rows: Columns) -> Any:
        seen.append(rows)
        return usual(self, rows)

    monkeypatch.setattr(type(example.loaded.recipe), "fit", watched)
    outcomes_on_test(example.loaded, open_rows(example.recipe, example.folder))
    example.loaded.answer(example.inputs(slice(0, 3)))
    assert seen == []
    monkeypatch.setattr(type(example.recipe), "fit", watched)
    loaded = LoadedRecipe(example.recipe, example.reference, "0", ROOT, "recipe.py")
    result = fit(loaded, open_rows(example.recipe, example.folder), example.parameters | {"epochs": 1})
    (rows,) = seen

    def keys(part: Columns) -> list[Any]:
        return sorted(zip(*(map(str, part[name].tolist()) for name in sorted(part)), strict=True))

    assert keys(rows) == keys(training)
    assert result.rows == len(keys(training))
    assert pick(result.features, slice(0, 1)) is not None
