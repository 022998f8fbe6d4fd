"""The HTML report and the table of a search."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chandlery.provenance import Provenance
from chandlery.report import GOOD, NEUTRAL, PALETTE, Report, axes, show
from chandlery.resources.experiment_space import Dimension, dimensions
from chandlery.search.experiment import SearchResult, TrialResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MINIMUM_FOR_IMPORTANCE = 4


def build_report(result: SearchResult, record: Provenance) -> Report:
    """Return the report of a search: the best trial, history, parallel coordinates, importance, table, document."""
    import yaml

    space = dimensions(result.document["spec"]["parameters"])
    measured = [trial for trial in result.trials if trial.objective is not None]
    page = Report(f"Search {result.experiment}", f"{len(result.trials)} trials; {result.reason}")
    best = ", ".join(f"{name} = {show(value)}" for name, value in result.parameters.items())
    page.verdict(f"Best {result.metric} {result.objective:.4f} in {result.best}: {best}", "good")
    page.figure(
        "History", _history(result, measured), "Each trial in the order of its start, and the best so far."
    )
    page.figure(
        "Parallel coordinates",
        _parallel_coordinates(result, measured, space),
        f"Each line is a trial; the darker, the better its {result.metric}. The best is green.",
    )
    importance = parameter_importance(result, space)
    if importance:
        page.figure(
            "Importance",
            _importance(importance),
            "Share of the objective's variance that each parameter explains (fANOVA).",
        )
    else:
        page.text(
            "Importance", f"Not known: it takes {_MINIMUM_FOR_IMPORTANCE} trials with different objectives."
        )
    page.table("Trials", header(space, result.metric), [row(trial, space) for trial in result.trials])
    page.provenance(record)
    document = {key: value for key, value in result.document.items() if key != "status"}
    document["metadata"] = {k: v for k, v in document["metadata"].items() if k != "managedFields"}
    page.code("Experiment", yaml.safe_dump(document, sort_keys=False))
    return page


def header(space: Sequence[Dimension], metric: str) -> list[str]:
    """Return the header of the table of trials."""
    return ["trial", "state", *(dimension.name for dimension in space), metric, "seconds", "message"]


def row(trial: TrialResult, space: Sequence[Dimension]) -> list[Any]:
    """Return a trial as a row of the table; an empty cell where it has no value."""
    values = [trial.parameters.get(dimension.name, "") for dimension in space]
    objective = "" if trial.objective is None else trial.objective
    seconds = "" if trial.seconds is None else trial.seconds
    return [trial.name, trial.state, *values, objective, seconds, trial.message]


def to_csv(result: SearchResult) -> str:
    """Return the table of trials as CSV, values in full."""
    space = dimensions(result.document["spec"]["parameters"])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header(space, result.metric))
    writer.writerows(row(trial, space) for trial in result.trials)
    return text.getvalue()


def parameter_importance(result: SearchResult, space: Sequence[Dimension]) -> dict[str, float]:
    """Return each parameter's share of the variance by fANOVA (Hutter et al. 2014), largest first; {} when unknowable."""
    import optuna

    measured = [trial for trial in result.trials if trial.objective is not None]
    varied = [d for d in space if len({trial.parameters[d.name] for trial in measured}) > 1]
    if (
        len(measured) < _MINIMUM_FOR_IMPORTANCE
        or len({trial.objective for trial in measured}) < 2
        or not varied
    ):
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if result.maximise else "minimize")
    distributions = {d.name: _distribution(d) for d in varied}
    for trial in measured:
        parameters = {d.name: trial.parameters[d.name] for d in varied}
        study.add_trial(
            optuna.trial.create_trial(params=parameters, distributions=distributions, value=trial.objective)
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def _distribution(dimension: Dimension) -> Any:
    from optuna import distributions

    if dimension.values:
        return distributions.CategoricalDistribution([dimension.value(text) for text in dimension.values])
    if dimension.type == "int":
        return distributions.IntDistribution(int(dimension.minimum), int(dimension.maximum))
    return distributions.FloatDistribution(dimension.minimum, dimension.maximum, log=dimension.log)


def _history(result: SearchResult, measured: Sequence[TrialResult]) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure, (ax,) = axes()
    order = {trial.name: index for index, trial in enumerate(result.trials, 1)}
    for state, marker, colour in (("Succeeded", "o", PALETTE[0]), ("EarlyStopped", "v", NEUTRAL)):
        chosen = [trial for trial in measured if trial.state == state]
        if chosen:
            ax.scatter(
                [order[t.name] for t in chosen],
                [t.objective or 0.0 for t in chosen],
                marker=marker,
                color=colour,
                label=state,
            )
    so_far: list[float] = []
    pick = max if result.maximise else min
    for trial in measured:
        so_far.append(pick(*so_far[-1:], trial.objective or 0.0) if so_far else trial.objective or 0.0)
    ax.step([order[t.name] for t in measured], so_far, where="post", color=GOOD, label="best so far")
    for trial in result.trials:
        if trial.objective is None:
            ax.axvline(order[trial.name], color=PALETTE[1], linewidth=0.8, linestyle=":")
    ax.set_xlabel("trial (dotted: without a result)")
    ax.set_ylabel(result.metric)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return figure


def _parallel_coordinates(
    result: SearchResult, measured: Sequence[TrialResult], space: Sequence[Dimension]
) -> Figure:
    import matplotlib as mpl

    figure, (ax,) = axes(height=4.2)
    ax.grid(visible=False)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.set_yticks([])
    objectives = [trial.objective or 0.0 for trial in measured]
    low, high = min(objectives), max(objectives)
    places = range(len(space) + 1)
    colours = mpl.colormaps["Blues"]
    for trial in sorted(measured, key=lambda t: t.objective or 0.0, reverse=not result.maximise):
        quality = _share(trial.objective or 0.0, low, high)
        heights = [*(_height(d, trial.parameters[d.name]) for d in space), quality]
        is_best = trial.name == result.best
        shade = quality if result.maximise else 1 - quality
        colour = GOOD if is_best else colours(0.25 + 0.6 * shade)
        ax.plot(places, heights, color=colour, linewidth=2.4 if is_best else 1.2, zorder=3 if is_best else 2)
    for place, (bottom, top) in zip(
        places, [*(_ends(d) for d in space), (show(low), show(high))], strict=True
    ):
        ax.axvline(place, color="#9aa6b1", linewidth=1, zorder=1)
        ax.text(place, -0.03, bottom, ha="center", va="top", fontsize=8)
        ax.text(place, 1.03, top, ha="center", va="bottom", fontsize=8)
    for place, dimension in zip(places, space, strict=False):
        for value in dimension.values[1:-1]:
            ax.text(place + 0.03, _height(dimension, dimension.value(value)), value, va="center", fontsize=8)
    ax.set_xticks(list(places), [*(d.name + (" (log)" if d.log else "") for d in space), result.metric])
    ax.tick_params(axis="x", length=0, pad=14)
    ax.set_ylim(-0.02, 1.02)
    return figure


def _importance(shares: dict[str, float]) -> Figure:
    figure, (ax,) = axes(height=0.6 + 0.4 * len(shares))
    names = list(shares)[::-1]
    bars = ax.barh(names, [shares[name] for name in names], color=PALETTE[0])
    ax.bar_label(bars, fmt="%.2f", padding=3)
    ax.grid(visible=False)
    ax.set_xlim(0, 1.08)
    return figure


def _height(dimension: Dimension, value: Any) -> float:
    import math

    if dimension.values:
        values = [dimension.value(text) for text in dimension.values]
        return _share(values.index(value), 0, len(values) - 1)
    if dimension.log:
        return _share(math.log(value), math.log(dimension.minimum), math.log(dimension.maximum))
    return _share(value, dimension.minimum, dimension.maximum)


def _share(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low) if high > low else 0.5


def _ends(dimension: Dimension) -> tuple[str, str]:
    if dimension.values:
        return dimension.values[0], dimension.values[-1]
    return f"{dimension.minimum:g}", f"{dimension.maximum:g}"
