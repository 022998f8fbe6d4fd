"""The three components as processes, one after another, as the engine runs them; then all from the cache."""

import time
from pathlib import Path

import pytest

from tests.components import run as run_pipeline
from tests.loading import ROOT, load_component, load_example

OUTPUTS = {"model", "curves", "metrics", "classification", "report"}


@pytest.mark.slow
def test_train_evaluate_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kfp import dsl

    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(ROOT)
    data = load_example("digits").write(tmp_path / "data")["history-1"]
    train, evaluate, compare = (
        load_component("training", name) for name in ("train_model", "evaluate_model", "compare_models")
    )

    # No return annotation: kfp would read it as an output.
    @dsl.pipeline(name="training")
    def pipeline(recipe: str, parameters: dict):  # type: ignore[no-untyped-def, type-arg]
        dataset = dsl.importer(
            artifact_uri=str(data),
            artifact_class=dsl.Dataset,
            metadata={"chandlery.data_repo": "digits", "chandlery.data_commit": "c1"},
        ).output
        trained = train(dataset=dataset, recipe=recipe, parameters=parameters, seed=1)
        evaluate(dataset=dataset, model=trained.outputs["model"], resamples=50)
        compare(dataset=dataset, challenger=trained.outputs["model"], model_name="digits")

    def run() -> tuple[list[Path], list[str], float]:
        started = time.monotonic()
        arguments = {"recipe": "examples/digits/recipe.py:Digits", "parameters": {"epochs": 3, "units": 16}}
        ran = run_pipeline(pipeline, tmp_path, caching=True, **arguments)
        pages = sorted(path for path in (tmp_path / "outputs").rglob("*") if path.name in OUTPUTS)
        states = [task.state for task in ran.tasks.values() if "executorLabel" in task.component]
        return pages, states, time.monotonic() - started

    first, _, _ = run()
    assert {page.name for page in first} == OUTPUTS
    again, states, seconds = run()
    # Every output has its file, so that KFP finds each task in its cache; three imports of TensorFlow take longer.
    assert sorted(states) == ["CACHED", "CACHED", "CACHED", "SUCCEEDED"]  # the importer has no result to keep
    assert seconds < 5
    assert len(again) == len(first)
