"""register_model: make a trained model a version that can be compared, released and trained again."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register_model(
    model: dsl.Input[dsl.Model],
    metrics: dsl.Input[dsl.Metrics],
    evaluation: dsl.Input[dsl.HTML],
    comparison: dsl.Input[dsl.HTML],
    curves: dsl.Input[dsl.HTML],
    trials: dsl.Input[dsl.Dataset],
    model_name: str,
    description: str = "",
    owner: str = "",
    intended_use: str = "",
    limits: str = "",
) -> NamedTuple("Outputs", [("version", str), ("uri", str), ("created", str)]):
    """Register a trained model in MLflow with everything needed to run, explain and rebuild it, and a model card.

    The same model (by its digest) never gets a second version. Alias `challenger` points to the version.

    Args:
        model: model package, from train_model.
        metrics: figures on the test split, from evaluate_model.
        evaluation: report of the evaluation.
        comparison: report of the comparison with the champion.
        curves: learning curves.
        trials: table of the trials of the hyperparameter search.
        model_name: name of the registered model; made when missing.
        description: what the model is for, for the model card.
        owner: team or person to ask.
        intended_use: what the model may be used for.
        limits: what it must not be used for, and known weaknesses.

    Returns:
        version: the version, a whole number as text.
        uri: `models:/<name>/<version>`.
        created: `yes`, or `no` when the same model was registered before.
    """
    from chandlery.steps.registry.register_model import About, register_model

    about = About(description, owner, intended_use, limits)
    return register_model(model, metrics, evaluation, comparison, curves, trials, model_name, about)
