"""The steps on both examples, with real KFP artifacts: what they write, decide and survive."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kfp import dsl

from chandlery import provenance
from chandlery.errors import RecipeError, RegistryError, TrainingError, UserError
from chandlery.example import read_example
from chandlery.model import read_manifest
from chandlery.recipe import load_snapshot
from chandlery.steps.training import compare_models, evaluate_model, train_model
from chandlery.training.dataset import part_of, read_rows, size
from tests.loading import ROOT, load_example

pytestmark = pytest.mark.slow
DIGITS, DEPARTURES = (
    f"{ROOT}/examples/{name}/recipe.py:{cls}"
    for name, cls in (("digits", "Digits"), ("departures", "Departures"))
)
FEW = {"epochs": 4.0}  # a float, as KFP hands it over

Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "CHANDLERY_ARTIFACTS"):
        monkeypatch.delenv(name, raising=False)


def output(kind: type, folder: Path, name: str, **metadata: str) -> Any:
    return kind(name=name, uri=str(folder / name), metadata=metadata)


def dataset_of(path: Path, commit: str) -> dsl.Dataset:
    record = provenance.Provenance(data_repo="data", data_branch="master", data_commit=commit)
    return dsl.Dataset(name="dataset", uri=str(path), metadata=record.metadata())


def trained(
    folder: Path, dataset: dsl.Dataset, recipe: str, parameters: dict[str, Any], seed: int = 1
) -> dsl.Model:
    model, curves = output(dsl.Model, folder, "model"), output(dsl.HTML, folder, "curves")
    train_model.train_model(dataset, recipe, parameters, seed, True, "search-1", model, curves)
    return model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dsl.Dataset]:
    folder = tmp_path_factory.mktemp("data")
    digits = load_example("digits").write(folder / "digits")
    departures = load_example("departures")
    departures.write(folder / "departures", 1500, 1)
    departures.write(folder / "drifted", 1500, 2, drift=1.0)
    return {
        "first": dataset_of(digits["history-1"], "c1"),
        "second": dataset_of(digits["history-2"], "c2"),
        "departures": dataset_of(folder / "departures", "c3"),
        "drifted": dataset_of(folder / "drifted", "c4"),
    }


@pytest.fixture(scope="module")
def models(data: dict[str, dsl.Dataset], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dsl.Model]:
    wanted = {
        "weak": ("first", DIGITS, {"epochs": 8}),
        "good": ("second", DIGITS, {"epochs": 8}),
        "mislabelled": ("second", DIGITS.replace("Digits", "MislabelledDigits"), {"epochs": 8}),
        "old": ("departures", DEPARTURES, {"epochs": 10}),
        "new": ("drifted", DEPARTURES, {"epochs": 10}),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHANDLERY_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return {
            name: trained(tmp_path_factory.mktemp(name), data[which], recipe, parameters)
            for name, (which, recipe, parameters) in wanted.items()
        }


def test_training_leaves_a_package_a_page_and_the_thread(
    data: dict[str, dsl.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANDLERY_RUN_ID", "run-7")
    events = tmp_path / "events.jsonl"
    monkeypatch.setenv("CHANDLERY_EVENTS", str(events))
    model, curves = output(dsl.Model, tmp_path, "model"), output(dsl.HTML, tmp_path, "curves")
    result = train_model.train_model(data["first"], DIGITS, FEW, 1, True, "search-1", model, curves)
    manifest = read_manifest(Path(model.path))
    record = provenance.read(model.metadata)
    assert (record.run_id, record.data_commit, record.experiment) == ("run-7", "c1", "search-1")
    assert record.model_digest == manifest.digest
    assert json.loads(record.parameters)["epochs"] == 4
    assert model.metadata["accuracy"] == result.objective == manifest.metrics["accuracy"]
    assert result.mlflow_run_id == "", "there is no tracking server"
    assert "<svg" in Path(curves.path).read_text()
    assert provenance.read(curves.metadata).model_digest == manifest.digest
    epochs = [json.loads(line) for line in events.read_text().splitlines()]
    assert [event["epoch"] for event in epochs if event["event"] == "epoch"] == [1, 2, 3, 4]
    left = list((tmp_path / "home" / "artifacts" / "checkpoints").iterdir())
    assert left == [], "the checkpoint goes when the package is there"


@pytest.mark.parametrize(("which", "name"), [("good", "second"), ("new", "drifted")])
def test_the_package_holds_a_row_of_the_validation_part(
    data: dict[str, dsl.Dataset], models: dict[str, dsl.Model], which: str, name: str
) -> None:
    package = Path(models[which].path)
    recipe = load_snapshot(package / "recipe", read_manifest(package).recipe).recipe
    row = read_example(package, recipe.inputs())
    rows = read_rows(recipe, Path(data[name].path))
    same = np.ones(size(rows), dtype=bool)
    for column, values in row.items():
        same &= (rows[column] == values).reshape(len(same), -1).all(axis=1)
    assert same.any()
    assert set(part_of(recipe, rows)[same]) == {"validation"}


def test_a_retry_goes_on_from_the_checkpoint_and_ends_alike(
    data: dict[str, dsl.Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = read_manifest(Path(trained(tmp_path / "whole", data["first"], DIGITS, FEW).path))

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_model, "save_model", dies)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "again", data["first"], DIGITS, FEW)
    capsys.readouterr()
    retried = read_manifest(Path(trained(tmp_path / "again", data["first"], DIGITS, FEW).path))
    assert "went on from the checkpoint of epoch 4" in capsys.readouterr().out
    assert retried.digest == whole.digest


@pytest.mark.parametrize(
    ("recipe", "parameters", "error", "words"),
    [
        ("examples/absent.py:Digits", {}, RecipeError, "no file"),
        (DIGITS + "@0123456789abcdef", {}, RecipeError, "was asked for"),
        (DIGITS, {"unit": 1}, UserError, "no parameter 'unit'"),
        (DEPARTURES, {}, RecipeError, r"Departures.load raised KeyError: 'route'"),
    ],
)
def test_a_bad_request_leaves_nothing(
    data: dict[str, dsl.Dataset],
    tmp_path: Path,
    recipe: str,
    parameters: dict[str, Any],
    error: type,
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        trained(tmp_path / "out", data["first"], recipe, parameters)
    assert not (tmp_path / "out").exists()


def test_an_empty_dataset_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match="has no rows"):
        trained(tmp_path / "out", dataset_of(tmp_path / "empty", "c0"), DIGITS, {})


def test_mlflow_out_of_reach_is_told(
    data: dict[str, dsl.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr("chandlery.registry.client.DEADLINE_SECONDS", 1.0)
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:9"):
        trained(tmp_path / "out", data["first"], DIGITS, FEW)
    assert not (tmp_path / "out" / "model").exists()


def test_a_run_that_logs_gets_parameters_curves_and_the_dataset(
    data: dict[str, dsl.Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    calls: dict[str, list[Any]] = {"metrics": [], "parameters": [], "dataset": [], "artifact": []}

    class Run:
        id = "m-1"

        def log_parameters(self, values: Any) -> None:
            calls["parameters"].append(values)

        def log_metrics(self, values: Any, step: int = 0) -> None:
            calls["metrics"].append((step, sorted(values)))

        def log_dataset(self, record: Any, name: str, rows: int, context: str = "training") -> None:
            calls["dataset"].append((record.data_commit, name, rows))

        def log_artifact(self, path: Any, folder: str = "") -> None:
            calls["artifact"].append((Path(path).name, folder, "<svg" in Path(path).read_text()))

    keys = []

    @contextmanager
    def run(name: str, *, key: str, record: Any, tags: Any = None) -> Any:
        keys.append(key)
        yield Run()

    monkeypatch.setattr(train_model.tracking, "run", run)
    for attempt in ("one", "two"):
        model = trained(tmp_path / attempt, data["first"], DIGITS, FEW)
    trained(tmp_path / "three", data["first"], DIGITS, FEW, seed=2)
    assert keys[0] == keys[1] != keys[2], "a retry finds its own run, another seed has another"
    assert provenance.read(model.metadata).mlflow_run_id == "m-1"
    assert calls["parameters"][0]["epochs"] == 4
    assert calls["parameters"][0]["seed"] == 1
    assert calls["metrics"][:2] == [(n, ["accuracy", "log_loss", "loss", "training_loss"]) for n in (1, 2)]
    assert calls["dataset"][0] == ("c1", "data", 211)
    assert calls["artifact"][0] == ("learning_curves.html", "training", True)


def evaluated(
    folder: Path, dataset: dsl.Dataset, model: dsl.Model
) -> tuple[evaluate_model.Evaluated, Any, Any, Any]:
    metrics, report = output(dsl.Metrics, folder, "metrics"), output(dsl.HTML, folder, "report")
    classification = output(dsl.ClassificationMetrics, folder, "classification")
    result = evaluate_model.evaluate_model(dataset, model, 100, 0.95, 0, metrics, classification, report)
    return result, metrics, classification, report


def test_evaluating_a_classifier(
    data: dict[str, dsl.Dataset], models: dict[str, dsl.Model], tmp_path: Path
) -> None:
    result, metrics, classification, report = evaluated(tmp_path, data["second"], models["good"])
    assert result.rows == 221
    assert metrics.metadata["accuracy"] == result.objective > 0.9
    assert metrics.metadata["accuracy_low"] < result.objective < metrics.metadata["accuracy_high"]
    written = json.loads(Path(metrics.path).read_text())
    labels = [s for s in written["slices"] if s["column"] == "label"]
    assert [s["value"] for s in labels] == list("0123456789")
    assert sum(s["rows"] for s in labels) == 221
    weighted = sum(s["rows"] * s["metrics"]["accuracy"] for s in labels) / 221
    assert weighted == pytest.approx(result.objective)
    # The very structure that KFP's own writers make, so that the dashboard draws it.
    content = classification.metadata
    matrix = [row["row"] for row in content["confusionMatrix"]["rows"]]
    assert np.trace(matrix) == round(result.objective * 221)
    theirs = dsl.ClassificationMetrics(name="theirs", uri=str(tmp_path / "theirs"))
    theirs.log_confusion_matrix(list("0123456789"), matrix)
    points = content["confidenceMetrics"]
    theirs.log_roc_curve(
        *([p[k] for p in points] for k in ("falsePositiveRate", "recall", "confidenceThreshold"))
    )
    assert theirs.metadata["confusionMatrix"] == content["confusionMatrix"]
    assert theirs.metadata["confidenceMetrics"] == content["confidenceMetrics"]
    json.dumps(content, allow_nan=False)
    page = Path(report.path).read_text()
    assert all(text in page for text in ("Confusion matrix", "ROC", "calibration", "Slices", "c2"))


def test_evaluating_a_regression(
    data: dict[str, dsl.Dataset], models: dict[str, dsl.Model], tmp_path: Path
) -> None:
    result, metrics, classification, report = evaluated(tmp_path, data["departures"], models["old"])
    assert set(json.loads(Path(metrics.path).read_text())["metrics"]) == {"mae", "rmse", "beyond_tolerance"}
    assert metrics.metadata["mae_low"] < result.objective < metrics.metadata["mae_high"]
    assert "confusionMatrix" not in classification.metadata
    assert Path(classification.path).is_file(), "an output without a file is never cached"
    page = Path(report.path).read_text()
    assert "residuals" in page
    assert "HAM-OSL" in page


def test_evaluation_can_be_repeated_to_the_byte(
    data: dict[str, dsl.Dataset], models: dict[str, dsl.Model], tmp_path: Path
) -> None:
    pages = [evaluated(tmp_path / name, data["first"], models["weak"]) for name in ("a", "b")]
    for index in (1, 2, 3):
        assert Path(pages[0][index].path).read_bytes() == Path(pages[1][index].path).read_bytes()


def compared(
    folder: Path, dataset: dsl.Dataset, challenger: dsl.Model, version: str, **options: Any
) -> tuple[compare_models.Compared, str]:
    report = output(dsl.HTML, folder, "report")
    arguments = {"margin": 0.01, "alpha": 0.05, "resamples": 500, "seed": 0, **options}
    result = compare_models.compare_models(dataset, challenger, "model", version, report=report, **arguments)
    return result, Path(report.path).read_text()


@pytest.fixture
def champion(models: dict[str, dsl.Model], monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the registry hand out the model that the version names."""
    monkeypatch.setattr(compare_models, "download", lambda name, version: Path(models[version].path))


@pytest.mark.usefixtures("champion")
@pytest.mark.parametrize(
    ("dataset", "challenger", "version", "decision", "words"),
    [
        ("second", "good", "", "first", "there is no champion yet"),
        ("second", "good", "good", "same", "the new model is the champion"),
        ("second", "good", "weak", "better", "significantly better"),
        ("second", "weak", "good", "worse", "not shown to be good enough"),
        ("second", "mislabelled", "good", "better", "significantly better"),
        ("drifted", "new", "old", "better", "sign-flip test"),
        ("departures", "new", "old", "worse", "mae"),
    ],
)
def test_decisions(
    data: dict[str, dsl.Dataset],
    models: dict[str, dsl.Model],
    tmp_path: Path,
    dataset: str,
    challenger: str,
    version: str,
    decision: str,
    words: str,
) -> None:
    result, page = compared(tmp_path, data[dataset], models[challenger], version)
    assert (result.decision, words in result.reason) == (decision, True), result
    assert f"{decision}: " in page
    assert ("Evidence" in page) == (decision in ("better", "worse"))
    if decision == "first":
        assert result.champion_score == 0.0


@pytest.mark.usefixtures("champion")
def test_models_of_different_rows_are_not_paired(
    data: dict[str, dsl.Dataset], models: dict[str, dsl.Model], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"Departures\.load raised"):
        compared(tmp_path, data["second"], models["good"], "old")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SCALE = np.float32(100)", "SCALE = np.float32(10)"),  # outputs that mean something else
        ('Column("days_ahead", "int64"', 'Column("days_ahead", "float64"'),  # rows that only it can read
    ],
)
def test_a_champion_of_another_recipe_is_read_by_its_own(
    data: dict[str, dsl.Dataset],
    models: dict[str, dsl.Model],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    after: str,
) -> None:
    source = (ROOT / "examples/departures/recipe.py").read_text()
    assert before in source
    (tmp_path / "earlier").mkdir()
    recipe = tmp_path / "earlier" / "recipe.py"
    recipe.write_text(source.replace(before, after))
    earlier = trained(tmp_path / "champion", data["departures"], f"{recipe}:Departures", {"epochs": 10})
    monkeypatch.setattr(compare_models, "download", lambda name, version: Path(earlier.path))
    result, _ = compared(tmp_path / "out", data["departures"], models["old"], "1")
    # Both learned the same task on the same rows: whoever misreads the champion is off by a factor of ten.
    assert 0.7 < result.champion_score / result.challenger_score < 1.4


def test_a_champion_without_the_objective_is_told(
    data: dict[str, dsl.Dataset],
    models: dict[str, dsl.Model],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = (ROOT / "examples/departures/recipe.py").read_text()
    recipe = tmp_path / "recipe.py"
    recipe.write_text(source.replace('"mae"', '"mean_error"'))
    earlier = trained(tmp_path / "champion", data["departures"], f"{recipe}:Departures", {"epochs": 1})
    monkeypatch.setattr(compare_models, "download", lambda name, version: Path(earlier.path))
    with pytest.raises(RecipeError, match="of the champion does not return 'mae'"):
        compared(tmp_path / "out", data["departures"], models["old"], "1")


@pytest.mark.parametrize("options", [{"margin": -0.1}, {"alpha": 0.5}, {"alpha": 0.0}, {"resamples": 0}])
def test_arguments_out_of_range_are_refused(
    data: dict[str, dsl.Dataset], models: dict[str, dsl.Model], tmp_path: Path, options: dict[str, float]
) -> None:
    with pytest.raises(UserError, match="margin is"):
        compared(tmp_path, data["second"], models["good"], "", **options)
