"""train_model: train a recipe's model on a dataset."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_model(
    dataset: dsl.Input[dsl.Dataset],
    recipe: str,
    model: dsl.Output[dsl.Model],
    curves: dsl.Output[dsl.HTML],
    parameters: dict = {},  # noqa: B006 (kfp reads the default, nothing changes it)
    seed: int = 0,
    deterministic: bool = True,
    experiment: str = "",
) -> NamedTuple("Outputs", [("objective", float), ("mlflow_run_id", str)]):
    """Train a recipe's model: checkpoints every epoch, goes on where a killed run was, same inputs same weights.

    Args:
        dataset: raw data, pinned to its commit.
        recipe: recipe reference, `path/to/recipe.py:Class` or `package.module:Class`.
        model: model package: definition, weights, SavedModel, recipe, manifest.
        curves: HTML page with the learning curves.
        parameters: hyperparameters; the recipe's defaults are filled in. `epochs`, `batch_size` and `patience`
            (0: train all epochs) steer training itself.
        seed: seed of everything random.
        deterministic: use deterministic operations.
        experiment: name of the search that found the parameters; empty for none.

    Returns:
        objective: the recipe's objective on the validation split.
        mlflow_run_id: MLflow run that holds the curves; empty when no tracking is configured.
    """
    from chandlery.steps.training.train_model import train_model

    return train_model(dataset, recipe, parameters, seed, deterministic, experiment, model, curves)
