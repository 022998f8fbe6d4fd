"""tune_hyperparameters: a Katib Experiment over the recipe's search space."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def tune_hyperparameters(
    dataset: dsl.Input[dsl.Dataset],
    recipe: str,
    trials: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    experiment: dsl.Output[dsl.Artifact],
    algorithm: str = "tpe",
    max_trials: int = 12,
    parallel_trials: int = 2,
    max_failed_trials: int = 3,
    goal: str = "",
    early_stopping: bool = False,
    parameters: dict = {},  # noqa: B006 - a KFP default, never changed
    seed: int = 0,
    deadline_seconds: int = 14400,
) -> NamedTuple("Outputs", [("best_parameters", dict), ("objective", float), ("experiment_name", str)]):
    """Search for the best hyperparameters with Katib; each trial trains the recipe on the dataset's commit.

    Args:
        dataset: dataset of checkout_dataset; the trials read its commit.
        recipe: recipe reference, `path/to/recipe.py:Class` or `package.module:Class`.
        trials: table of all trials, CSV.
        report: page with the history, parallel coordinates, importance and the table of trials.
        experiment: the Experiment as it ended, YAML.
        algorithm: preset in katib/ (random, grid, tpe, multivariate-tpe, cmaes, sobol, tpe-medianstop), or path of an Experiment.
        max_trials: trials to finish.
        parallel_trials: trials at a time.
        max_failed_trials: number of failed trials, those without the metric included, at which the search fails.
        goal: value of the objective at which to stop; empty for none.
        early_stopping: stop trials that are worse than the mean of the finished ones (medianstop).
        parameters: hyperparameters that every trial gets; a name of the search space is taken out of the search.
        seed: seed of the algorithm; equal seeds give equal searches.
        deadline_seconds: the search is cancelled and the step fails after this.

    Returns:
        best_parameters: hyperparameters of the best trial, with the fixed ones.
        objective: its objective on the validation split.
        experiment_name: name of the Experiment.
    """
    from chandlery.steps.search.tune_hyperparameters import SearchParameters, tune_hyperparameters

    settings = SearchParameters(
        recipe=recipe,
        algorithm=algorithm,
        max_trials=max_trials,
        parallel_trials=parallel_trials,
        max_failed_trials=max_failed_trials,
        goal=goal,
        early_stopping=early_stopping,
        parameters=parameters,
        seed=seed,
        deadline_seconds=deadline_seconds,
    )
    return tune_hyperparameters(dataset, settings, trials, report, experiment)
