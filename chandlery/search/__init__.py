"""Hyperparameter search: builds Katib Experiments, submits and observes them, collects what they found."""

from chandlery.search.document import SearchRequest, build_experiment
from chandlery.search.experiment import SearchResult, TrialResult, cancel, observe, result, run_search, submit
from chandlery.search.presets import preset_names

__all__ = [
    "SearchRequest",
    "SearchResult",
    "TrialResult",
    "build_experiment",
    "cancel",
    "observe",
    "preset_names",
    "result",
    "run_search",
    "submit",
]
