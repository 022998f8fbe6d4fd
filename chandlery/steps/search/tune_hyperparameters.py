"""The body of `tune_hyperparameters`."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chandlery import provenance
from chandlery.errors import RecipeError, UserError
from chandlery.files import write_text
from chandlery.processes import PYTHON
from chandlery.provenance import Provenance
from chandlery.recipe import Value, load_recipe
from chandlery.search.document import SearchParameters, SearchRequest, build_experiment
from chandlery.search.experiment import SearchResult
from chandlery.steps.artifacts import Artifact
from chandlery.training.parameters import complete

CHECK_SECONDS = 600

__all__ = ["SearchParameters", "tune_hyperparameters"]


def tune_hyperparameters(
    dataset: Artifact, parameters: SearchParameters, trials: Artifact, report: Artifact, document: Artifact
) -> tuple[dict[str, Value], float, str]:
    """Search, and write the table of trials, the report and the Experiment.

    Args:
        dataset: Dataset artifact whose metadata names the data's repo and commit.
        parameters: the parameters of the component.
        trials: Dataset artifact to write the table of trials to (CSV).
        report: HTML artifact to write the report to.
        document: artifact to write the Experiment with its status to (YAML).

    Returns:
        hyperparameters of the best trial with the fixed ones, its objective, the Experiment's name.

    Raises:
        UserError: the dataset does not name its commit, the goal is not a number, or every parameter is fixed; a
            fixed parameter is unknown to the recipe, or does not fit.
        RecipeError: the recipe breaks its contract on the first rows.
        InvalidDocumentError: the search space or the counts make no valid Experiment.
        SearchError: the search failed.
        DeadlineError: it did not end in time.
    """
    source = _source(dataset)
    request = parameters.request(source.data_repo, source.data_commit)
    complete(
        load_recipe(request.recipe).recipe, request.fixed
    )  # no trial has to find a name that is not known
    if _nothing_to_search(request.recipe, request.fixed):
        raise UserError(
            f"every parameter of the search space of {request.recipe} is fixed: {', '.join(sorted(request.fixed))}",
            "leave out the search, or fix fewer parameters",
        )
    _check(request.recipe, Path(dataset.path))
    result = _search(request, source, parameters.deadline_seconds)
    _publish(result, trials, report, document)
    return {**request.fixed, **result.parameters}, result.objective, result.experiment


def cli_document(request: SearchRequest) -> str:
    """Return the Experiment of `request` as YAML: what `--dry-run` prints. Nothing is created."""
    import yaml

    from chandlery.addresses import endpoints

    complete(load_recipe(request.recipe).recipe, request.fixed)
    document = build_experiment(request, provenance.current(), namespace=endpoints().namespace)
    return yaml.safe_dump(document, sort_keys=False)


def dry_run(arguments: Mapping[str, Any]) -> str:
    """Return the Experiment that `tune_hyperparameters` would apply, as YAML: what `--dry-run` prints.

    Args:
        arguments: those of the component that are plain values, and `repo` and `commit` for the dataset.
    """
    plain = {name: value for name, value in arguments.items() if name not in ("repo", "commit")}
    return cli_document(SearchParameters(**plain).request(arguments["repo"], arguments["commit"]))


def _source(dataset: Artifact) -> Provenance:
    source = provenance.read(dataset.metadata)
    if not (source.data_repo and source.data_commit):
        raise UserError("the dataset does not name its repo and commit", "take it from checkout_dataset")
    folder = str(dataset.metadata.get("chandlery.path", "/"))
    if folder.strip("/"):
        raise UserError(
            f"the dataset is folder {folder} of its commit, and trials read whole commits",
            "check out the whole commit, or keep that folder in a repo of its own",
        )
    return source


def _search(request: SearchRequest, source: Provenance, deadline_seconds: int) -> SearchResult:
    from chandlery.addresses import endpoints
    from chandlery.platform import open_resources
    from chandlery.search.experiment import run_search

    here = provenance.current()
    record = source.with_(run_id=here.run_id, task=here.task, image=here.image, git_commit=here.git_commit)
    experiment = build_experiment(request, record, namespace=endpoints().namespace)
    store = open_resources()
    try:
        return run_search(store, experiment, deadline_seconds=deadline_seconds)
    finally:
        store.close()


def _check(recipe: str, folder: Path) -> None:
    """Run every method of the recipe once on a few rows, so that no trial has to find what breaks."""
    if not folder.is_dir() or importlib.util.find_spec("tensorflow") is None:
        return  # the trials run elsewhere, with their own files and libraries
    # In a process of its own: the step would hold TensorFlow's memory as long as the search takes.
    command = [*PYTHON, "chandlery.training.contract", "--recipe", recipe, "--dataset", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()][-2:]
        message, hint = lines if len(lines) == 2 else (lines or ["the check failed"], "run `chandlery check`")
        raise RecipeError(str(message), str(hint))


def _publish(result: SearchResult, trials: Artifact, report: Artifact, document: Artifact) -> None:
    import yaml

    from chandlery.search.report import build_report, to_csv

    metadata = result.document["metadata"]
    record = provenance.read(metadata["annotations"]).with_(trial=result.best)
    write_text(Path(trials.path), to_csv(result))
    build_report(result, record).write(report.path)
    kept = result.document | {"metadata": {k: v for k, v in metadata.items() if k != "managedFields"}}
    write_text(Path(document.path), yaml.safe_dump(kept, sort_keys=False))
    for artifact in (trials, report, document):
        artifact.metadata.update(record.metadata())


def _nothing_to_search(recipe: str, fixed: Mapping[str, Value]) -> bool:
    space = load_recipe(recipe).recipe.search_space
    return bool(space) and all(parameter.name in fixed for parameter in space)
