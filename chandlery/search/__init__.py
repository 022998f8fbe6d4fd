"""Hyperparameter search: builds Katib Experiments, submits and observes them, collects what they found."""

from chandlery.search.document import SearchRequest, build_experiment
from chandlery.search.experiment import SearchResult, TrialResult, cancel, observe, result, run_search, submit
from chandlery.search.presets import preset_names
from chandlery.steps.search.tune_hyperparameters import cli_document

__all__ = [
    "SearchRequest",
    "SearchResult",
    "TrialResult",
    "build_experiment",
    "cancel",
    "cli_document",
    "observe",
    "preset_names",
    "result",
    "run_search",
    "submit",
]
