"""The work of the component `tune_hyperparameters`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chandlery import provenance
from chandlery.errors import UserError
from chandlery.files import write_text
from chandlery.recipe import Value, load_recipe
from chandlery.search.document import SearchRequest, build_experiment

DRY_RUN_NAMES = (
    "recipe",
    "repo",
    "commit",
    "algorithm",
    "max_trials",
    "parallel_trials",
    "max_failed_trials",
    "early_stopping",
    "seed",
)


def tune_hyperparameters(
    dataset: Any,
    recipe: str,
    trials: Any,
    report: Any,
    document: Any,
    *,
    algorithm: str,
    max_trials: int,
    parallel_trials: int,
    max_failed_trials: int,
    goal: str,
    early_stopping: bool,
    parameters: Mapping[str, Any],
    seed: int,
    deadline_seconds: int,
) -> tuple[dict[str, Value], float, str]:
    """Search, and write the table of trials, the report and the Experiment.

    Args:
        dataset: Dataset artifact whose metadata names the data's repo and commit.
        recipe: recipe reference.
        trials: Dataset artifact to write the table of trials to (CSV).
        report: HTML artifact to write the report to.
        document: artifact to write the Experiment with its status to (YAML).
        algorithm: preset of katib/, or path of an Experiment.
        max_trials: trials to finish.
        parallel_trials: trials at a time.
        max_failed_trials: failed trials at which the search fails.
        goal: value of the objective at which to stop; "" for none.
        early_stopping: stop bad trials early.
        parameters: hyperparameters that every trial gets, taken out of the search.
        seed: seed of the algorithm.
        deadline_seconds: how long to wait for the search.

    Returns:
        hyperparameters of the best trial with the fixed ones, its objective, the Experiment's name.

    Raises:
        UserError: the dataset does not say which commit it is, or the goal is no number.
        InvalidDocumentError: the search space or the counts make no valid Experiment.
        SearchError: the search failed.
        DeadlineError: it did not end in time.
    """
    import yaml

    from chandlery.addresses import endpoints
    from chandlery.platform import open_resources
    from chandlery.search.experiment import run_search
    from chandlery.search.report import build_report, to_csv

    source = provenance.read(dataset.metadata)
    if not (source.data_repo and source.data_commit):
        raise UserError(
            "the dataset does not say of which repo and commit it is", "take it from checkout_dataset"
        )
    folder = str(dataset.metadata.get("chandlery.path", "/"))
    if folder.strip("/"):
        raise UserError(
            f"the dataset is folder {folder} of its commit, and trials read whole commits",
            "check out the whole commit, or keep that folder in a repo of its own",
        )
    fixed = {name: _value(value) for name, value in parameters.items()}
    request = SearchRequest(
        recipe=recipe,
        repo=source.data_repo,
        commit=source.data_commit,
        algorithm=algorithm,
        max_trials=max_trials,
        parallel_trials=parallel_trials,
        max_failed_trials=max_failed_trials,
        goal=_goal(goal),
        early_stopping=early_stopping,
        seed=seed,
        fixed=fixed,
    )
    here = provenance.current()
    record = source.with_(run_id=here.run_id, task=here.task, image=here.image, git_commit=here.git_commit)
    if _nothing_to_search(recipe, fixed):
        raise UserError(
            f"every parameter of the search space of {recipe} is fixed: {', '.join(sorted(fixed))}",
            "leave out the search, or fix fewer parameters",
        )
    experiment = build_experiment(request, record, namespace=endpoints().namespace)
    store = open_resources()
    try:
        result = run_search(store, experiment, deadline_seconds=deadline_seconds)
    finally:
        store.close()
    record = provenance.read(result.document["metadata"]["annotations"]).with_(trial=result.best)
    best = fixed | result.parameters
    write_text(Path(trials.path), to_csv(result))
    build_report(result, record).write(report.path)
    kept = result.document | {
        "metadata": {k: v for k, v in result.document["metadata"].items() if k != "managedFields"}
    }
    write_text(Path(document.path), yaml.safe_dump(kept, sort_keys=False))
    for artifact in (trials, report, document):
        artifact.metadata.update(record.metadata())
    return best, result.objective, result.experiment


def cli_document(request: SearchRequest) -> str:
    """Return the Experiment of `request` as YAML: what `--dry-run` prints. Nothing is created."""
    import yaml

    from chandlery.addresses import endpoints

    document = build_experiment(request, provenance.current(), namespace=endpoints().namespace)
    return yaml.safe_dump(document, sort_keys=False)


def dry_run(arguments: Mapping[str, Any]) -> str:
    """Return the Experiment that `tune_hyperparameters` would apply, as YAML: what `--dry-run` prints.

    Args:
        arguments: those of the component that are plain values, and `repo` and `commit` for the dataset.
    """
    given = {name: arguments[name] for name in DRY_RUN_NAMES if name in arguments}
    fixed = {name: _value(value) for name, value in arguments.get("parameters", {}).items()}
    return cli_document(SearchRequest(**given, goal=_goal(str(arguments.get("goal", ""))), fixed=fixed))


def _goal(text: str) -> float | None:
    if not text:
        return None
    try:
        goal = float(text)
    except ValueError:
        goal = math.nan
    if not math.isfinite(goal):
        raise UserError(f"goal {text!r} is not a number", 'use a number such as "0.97", or "" for none')
    return goal


def _value(value: Any) -> Value:
    # Numbers in a KFP dict arrive as floats.
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int | float | str):
        return value
    raise UserError(f"a fixed parameter is {value!r}", "use numbers and strings")


def _nothing_to_search(recipe: str, fixed: Mapping[str, Value]) -> bool:
    space = load_recipe(recipe).recipe.search_space
    return bool(space) and all(parameter.name in fixed for parameter in space)
