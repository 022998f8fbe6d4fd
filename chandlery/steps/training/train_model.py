"""The work of the `train_model` step."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chandlery import progress, provenance
from chandlery.model import save_model
from chandlery.recipe import LoadedRecipe, load_recipe
from chandlery.registry import tracking
from chandlery.report import Report
from chandlery.steps.artifacts import Artifact, data_name, record_of
from chandlery.training import checkpoint
from chandlery.training.contract import require
from chandlery.training.dataset import open_rows
from chandlery.training.fitting import Fit, fit
from chandlery.training.parameters import complete
from chandlery.training.plots import learning_curves


class Trained(NamedTuple):
    """What `train_model` returns."""

    objective: float
    mlflow_run_id: str


def train_model(
    dataset: Artifact,
    recipe: str,
    parameters: Mapping[str, Any],
    seed: int,
    deterministic: bool,
    experiment: str,
    model: Artifact,
    curves: Artifact,
) -> Trained:
    """Train a recipe's model and write it as a model package.

    Killed and run again it goes on from its last checkpoint and ends with the same weights, and its MLflow run
    is the same one.

    Args:
        dataset: folder of raw data, its commit in the metadata.
        recipe: recipe reference.
        parameters: hyperparameters; defaults are filled in.
        seed: seed of everything random.
        deterministic: use deterministic operations.
        experiment: name of the search that found the parameters; "" for none.
        model: where the model package goes.
        curves: where the HTML page of learning curves goes.

    Returns:
        the objective on the validation split, and the id of the MLflow run ("" without a tracking server).

    Raises:
        RecipeError: the recipe cannot be loaded, breaks its contract on the first rows, or one of its methods raised.
        TrainingError: no rows, too few rows, or training diverged.
        UserError: a parameter is unknown or does not fit.
    """
    loaded = load_recipe(recipe)
    values = complete(loaded.recipe, parameters)
    record = record_of(dataset).with_(
        recipe=loaded.reference, recipe_digest=loaded.digest, experiment=experiment
    )
    rows = open_rows(loaded.recipe, Path(dataset.path))
    require(loaded.recipe, rows)
    key = checkpoint.training_key(loaded.reference, data_name(dataset), values, seed, deterministic)
    folder = checkpoint.checkpoint_folder(key)
    epochs = int(values["epochs"])

    def show(figures: dict[str, float]) -> None:
        name, epoch = loaded.recipe.objective, int(figures["epoch"])
        told = ", ".join(
            f"{key} {figures[key]:.4f}" for key in dict.fromkeys((name, "loss")) if key in figures
        )
        message = f"epoch {epoch}/{epochs}: {told}"
        progress.report("epoch", message, **{**figures, "epoch": epoch, "epochs": epochs})

    with tracking.run(f"train {loaded.class_name}", key=key, record=record) as run:
        run.log_parameters({**values, "seed": seed})
        result = fit(loaded, rows, values, seed, folder, deterministic, show)
        if result.resumed:
            progress.report("resumed", f"went on from the checkpoint of epoch {result.resumed}")
        record = record.with_(mlflow_run_id=run.id)
        manifest = save_model(
            Path(model.path),
            result.model,
            loaded,
            result.parameters,
            result.metrics,
            record,
            state=result.state,
            features=result.features,
            example=result.example,
            validation=result.validation,
        )
        model.metadata.update({**manifest.provenance, **result.metrics})
        curves.metadata.update(manifest.provenance)
        _report(loaded, result, seed, provenance.read(manifest.provenance)).write(curves.path)
        _log(run, loaded, result, record, Path(curves.path))
    # Only now: a kill before this line finds the checkpoint again.
    checkpoint.remove(folder)
    progress.report(
        "trained",
        f"trained on {result.rows} rows: {loaded.recipe.objective} {result.objective:.4f} on the validation split",
        objective=result.objective,
    )
    return Trained(result.objective, run.id)


def _report(loaded: LoadedRecipe, result: Fit, seed: int, record: provenance.Provenance) -> Report:
    page = Report(
        f"Training of {loaded.class_name}", f"{result.rows} rows, {len(result.history)} epochs, seed {seed}"
    )
    page.facts("On the validation split", result.metrics)
    page.figure("Learning curves", learning_curves(loaded.recipe, result.history, result.epoch))
    return page.facts("Hyperparameters", result.parameters).provenance(record)


def _log(
    run: tracking.Run, loaded: LoadedRecipe, result: Fit, record: provenance.Provenance, curves: Path
) -> None:
    run.log_dataset(record, record.data_repo or loaded.class_name, result.rows)
    for figures in result.history:
        values = {name: value for name, value in figures.items() if name != "epoch"}
        run.log_metrics(values, step=int(figures["epoch"]))
    if not run.id:
        return
    with tempfile.TemporaryDirectory() as scratch:
        # KFP's path has no suffix, and MLflow shows a page by its suffix.
        page = Path(scratch) / "learning_curves.html"
        shutil.copyfile(curves, page)
        run.log_artifact(page, "training")
