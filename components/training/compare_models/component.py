"""compare_models: decide whether a new model may go on real traffic."""

from typing import NamedTuple

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def compare_models(
    dataset: dsl.Input[dsl.Dataset],
    challenger: dsl.Input[dsl.Model],
    model_name: str,
    report: dsl.Output[dsl.HTML],
    champion_version: str = "",
    margin: float = 0.01,
    alpha: float = 0.05,
    resamples: int = 2000,
    seed: int = 0,
) -> NamedTuple(
    "Outputs",
    [
        ("decision", str),
        ("reason", str),
        ("metric", str),
        ("champion_score", float),
        ("challenger_score", float),
    ],
):
    """Compare a new model with the champion on the same test rows, by a paired test and a margin.

    `decision` is better, worse, same (the new model is the champion) or first (there is no champion). Better means:
    significantly better, or shown to be no worse than the margin with a score that is not lower.

    Args:
        dataset: raw data, pinned to its commit.
        challenger: model package of the new model.
        model_name: registered model that the champion is a version of.
        report: HTML page with the decision and its evidence.
        champion_version: version of the champion; empty when there is none.
        margin: how much worse the new model may be, in units of the objective.
        alpha: error of each one-sided test.
        resamples: resamples of bootstrap and permutation.
        seed: seed of both.

    Returns:
        decision: better, worse, same (the challenger is the champion) or first (there is no champion).
        reason: why, in one sentence with numbers.
        metric: name of the objective that was compared.
        champion_score: the champion's objective on the test split; 0 when there is none.
        challenger_score: the challenger's.
    """
    from chandlery.steps.training.compare_models import compare_models

    return compare_models(
        dataset, challenger, model_name, champion_version, margin, alpha, resamples, seed, report
    )
