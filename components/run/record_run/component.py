"""record_run: note what the cached and pure steps of a run found."""

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def record_run(
    commit: str,
    best_parameters: dict,
    decision: str,
    reason: str,
    champion_version: str,
    champion_score: float,
    challenger_score: float,
    metric: str,
    validation: dsl.Input[dsl.HTML],
    search: dsl.Input[dsl.HTML],
    training: dsl.Input[dsl.HTML],
    evaluation: dsl.Input[dsl.HTML],
    comparison: dsl.Input[dsl.HTML],
) -> str:
    """Write what the pure steps found into the record of this run, whether they ran or came from the cache.

    Args:
        commit: data commit that the run used.
        best_parameters: hyperparameters that the search found.
        decision: what the comparison decided: better, worse, same or first.
        reason: why, in one sentence.
        champion_version: version compared with; empty when there was none.
        champion_score: its objective on the test split; 0 when there was none.
        challenger_score: the new model's.
        metric: name of the objective.
        validation: report of the data validation.
        search: report of the hyperparameter search.
        training: learning curves.
        evaluation: report of the evaluation.
        comparison: report of the comparison.

    Returns:
        Output: the decision, for the gate of the pipeline.
    """
    from chandlery.steps.run.record_run import RunFacts, record_run

    facts = RunFacts(
        commit=commit,
        best_parameters=best_parameters,
        decision=decision,
        reason=reason,
        champion_version=champion_version,
        champion_score=champion_score,
        challenger_score=challenger_score,
        metric=metric,
    )
    reports = {
        "Data validation": validation.path,
        "Hyperparameter search": search.path,
        "Training": training.path,
        "Evaluation": evaluation.path,
        "Comparison": comparison.path,
    }
    return record_run(facts, reports)
