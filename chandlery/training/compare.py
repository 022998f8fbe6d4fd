"""The work of the `compare_models` step: is the challenger good enough to be tried on real traffic?

Both models answer the same test rows, so the comparison is paired. Two one-sided questions, each at level alpha:

- non-inferiority: is the lower confidence limit of the challenger's gain above -margin?
- superiority: is a gain this large unlikely if the two were equally good?

The challenger is `better` when it is superior, or when it is not inferior and its own score is no lower than the
champion's. Asking both on the same data needs no correction of alpha: superiority implies non-inferiority, so the
two form a closed testing procedure (Morikawa and Yoshida 1995; CPMP/EWP/482/99 of the European Medicines Agency,
"Points to consider on switching between superiority and non-inferiority").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from chandlery import progress
from chandlery.errors import RecipeError, UserError
from chandlery.model import LoadedModel, read_manifest
from chandlery.provenance import Provenance
from chandlery.recipe import Columns, Recipe, guarded
from chandlery.registry import download
from chandlery.report import Report
from chandlery.training.artifacts import Artifact, record_of
from chandlery.training.classification import class_indices, probabilities
from chandlery.training.dataset import featurize, part_of, read_rows, size, split
from chandlery.training.fitting import evaluate
from chandlery.training.plots import difference
from chandlery.training.statistics import Interval, bootstrap, mcnemar, sign_flip, tango_lower
from chandlery.training.tensorflow import start_tensorflow

Decision = Literal["better", "worse", "same", "first"]
_COLOURS: dict[Decision, Literal["good", "bad", "neutral"]] = {
    "better": "good",
    "worse": "bad",
    "same": "neutral",
    "first": "neutral",
}


class Compared(NamedTuple):
    """What `compare_models` returns."""

    decision: Decision
    reason: str
    metric: str
    champion_score: float
    challenger_score: float


@dataclass(frozen=True)
class Evidence:
    """What the paired test found; gains are positive when the challenger is better.

    Attributes:
        gain: difference of the objective, in its units.
        interval: its confidence interval; the lower end is the one-sided limit.
        p_value: of superiority, one-sided.
        test: what gave the p-value, with its counts.
    """

    gain: float
    interval: Interval
    p_value: float
    test: str


def compare_models(
    dataset: Artifact,
    challenger: Artifact,
    model_name: str,
    champion_version: str,
    margin: float,
    alpha: float,
    resamples: int,
    seed: int,
    report: Artifact,
) -> Compared:
    """Compare a new model with the champion on the test split of the same data.

    The challenger's recipe loads the rows and says what is true; each model featurizes, and its outputs are read,
    by its own recipe.

    Args:
        dataset: folder of raw data, its commit in the metadata.
        challenger: model package of the new model.
        model_name: registered model that the champion is a version of.
        champion_version: its version; "" when there is none.
        margin: how much worse the challenger may be, in units of the objective; 0 or more.
        alpha: error of each one-sided test, between 0 and 0.5.
        resamples: resamples of bootstrap and permutation.
        seed: seed of both.
        report: where the HTML page goes.

    Returns:
        the decision (`better`, `worse`, `same`: the challenger is the champion, `first`: there is no champion),
        the reason in one sentence, the objective's name and both scores (the champion's is 0 when there is none).

    Raises:
        NotFoundError: there is no such version.
        RegistryError: MLflow cannot be reached.
        RecipeError: the champion's recipe cannot read the rows, or a method raised.
        UserError: an argument is out of range.
    """
    if margin < 0 or not 0 < alpha < 0.5 or resamples < 1:
        raise UserError(
            f"margin is {margin}, alpha is {alpha}, resamples is {resamples}",
            "margin is 0 or more, alpha lies between 0 and 0.5, resamples is 1 or more",
        )
    start_tensorflow(seed, deterministic=False)
    new = LoadedModel(Path(challenger.path))
    metric = new.recipe.objective
    rows = read_rows(new.recipe, Path(dataset.path))
    test = split(new.recipe, rows).test
    ours = _Contender(new.recipe, test, new.forward(featurize(new.recipe, test)))
    everything = np.arange(size(test))
    new_score = ours.score(metric, everything)

    record = new.provenance.with_(task=record_of(dataset).task, model_name=model_name)
    page = _Page(model_name, size(test), margin, alpha, record, report)
    if not champion_version:
        reason = f"there is no champion yet; {metric} of the new model is {new_score:.4f} on {size(test)} test rows"
        return page.write(Compared("first", reason, metric, 0.0, new_score))
    folder = download(model_name, champion_version)
    if read_manifest(folder).digest == new.manifest.digest:
        reason = f"the new model is the champion, version {champion_version}: same weights, same recipe"
        return page.write(Compared("same", reason, metric, new_score, new_score))
    old = LoadedModel(folder)
    seen = _champion_rows(old.recipe, new.recipe, dataset, rows, test)
    theirs = _Contender(old.recipe, seen, old.forward(featurize(old.recipe, seen)))
    old_score = theirs.score(metric, everything)
    evidence = _evidence(metric, theirs, ours, alpha, resamples, seed)
    decision, reason = decide(
        metric, champion_version, old_score, new_score, evidence, margin, alpha, size(test)
    )
    return page.write(Compared(decision, reason, metric, old_score, new_score), evidence)


def decide(
    metric: str,
    champion_version: str,
    champion_score: float,
    challenger_score: float,
    evidence: Evidence,
    margin: float,
    alpha: float,
    rows: int,
) -> tuple[Literal["better", "worse"], str]:
    """Apply the rule of this module; return the decision and its reason in one sentence."""
    scores = (
        f"{metric} {challenger_score:.4f} against {champion_score:.4f} of champion version {champion_version} "
        f"on {rows} test rows"
    )
    superior = evidence.gain > 0 and evidence.p_value <= alpha
    not_inferior = evidence.interval.low > -margin
    if superior:
        return "better", f"{scores}: significantly better (p = {evidence.p_value:.2g}, {evidence.test})"
    limit = f"gain {evidence.gain:+.4f}, lower {1 - alpha:.0%} limit {evidence.interval.low:+.4f}, margin {margin:g}"
    if not_inferior and evidence.gain >= 0:
        return "better", f"{scores}: no worse than the margin allows, and not lower ({limit})"
    if not_inferior:
        return "worse", f"{scores}: within the margin, but lower ({limit})"
    return "worse", f"{scores}: not shown to be good enough ({limit})"


@dataclass(frozen=True)
class _Contender:
    """A model's outputs on the test rows, read by its own recipe: outputs of another recipe may have another scale.

    Attributes:
        recipe: the model's recipe.
        rows: the test rows as that recipe knows them; the target is what the challenger's recipe says.
        outputs: the model's outputs (n, ...).
    """

    recipe: Recipe
    rows: Columns
    outputs: np.ndarray

    def score(self, metric: str, chosen: np.ndarray) -> float:
        figures = evaluate(self.recipe, self.rows[self.recipe.target][chosen], self.outputs[chosen])
        if metric not in figures:
            raise RecipeError(
                f"{type(self.recipe).__name__}.metrics of the champion does not return {metric!r}",
                "keep the objective of the champion, or register under another name",
            )
        return figures[metric]

    def right(self) -> np.ndarray:
        count = len(self.recipe.classes)
        truth = class_indices(np.asarray(guarded(self.recipe, "labels", self.rows)), count)
        return np.asarray(probabilities(self.outputs, count).argmax(axis=1) == truth)

    def errors(self) -> np.ndarray:
        answer = next(iter(guarded(self.recipe, "answer", self.outputs).values()))
        return np.asarray(np.abs(np.asarray(answer, dtype="float64") - self.rows[self.recipe.target]))


def _evidence(
    metric: str, old: _Contender, new: _Contender, alpha: float, resamples: int, seed: int
) -> Evidence:
    sign = 1 if new.recipe.maximise() else -1
    rows = size(new.rows)

    def gain(chosen: np.ndarray) -> dict[str, float]:
        return {"gain": sign * (new.score(metric, chosen) - old.score(metric, chosen))}

    observed = gain(np.arange(rows))["gain"]
    interval = bootstrap(gain, rows, resamples, 1 - 2 * alpha, seed)["gain"]
    if new.recipe.task == "regression":
        p_value = sign_flip(old.errors() - new.errors(), resamples, seed)
        return Evidence(observed, interval, p_value, "sign-flip test on absolute errors")
    ours, theirs = new.right(), old.right()
    wins, losses = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if np.isclose(observed, ours.mean() - theirs.mean()):
        # The objective is the share of right answers: its own interval holds where a bootstrap is too sure.
        low, high = tango_lower(wins, losses, rows, alpha), -tango_lower(losses, wins, rows, alpha)
        interval = Interval(low, high)
    name = f"McNemar's exact test: only the challenger right {wins} times, only the champion {losses} times"
    return Evidence(observed, interval, mcnemar(wins, losses), name)


def _champion_rows(
    champion: Recipe, challenger: Recipe, dataset: Artifact, rows: Columns, test: Columns
) -> Columns:
    truth = {champion.target: test[challenger.target]}
    needed = {column.name: (column.dtype, column.shape) for column in champion.inputs()}
    offered = {column.name: (column.dtype, column.shape) for column in challenger.inputs()}
    if needed.items() <= offered.items():
        return {name: test[name] for name in needed} | truth
    # Another schema: the champion reads the same files by itself; the rows must be the same ones.
    own = read_rows(champion, Path(dataset.path))
    if size(own) != size(rows):
        raise RecipeError(
            f"the champion's recipe reads {size(own)} rows where the challenger's reads {size(rows)}",
            "they cannot be paired: keep the rows that load() returns the same, or register under another name",
        )
    chosen = part_of(challenger, rows) == "test"
    return {name: own[name][chosen] for name in needed} | truth


@dataclass(frozen=True)
class _Page:
    """What the report says whatever the decision."""

    model_name: str
    rows: int
    margin: float
    alpha: float
    record: Provenance
    report: Artifact

    def write(self, result: Compared, evidence: Evidence | None = None) -> Compared:
        page = Report(f"Comparison for {self.model_name}", f"{self.rows} rows of the test split")
        page.verdict(f"{result.decision}: {result.reason}", _COLOURS[result.decision])
        if evidence is not None:
            page.facts(
                "Evidence",
                {
                    f"{result.metric} of the champion": result.champion_score,
                    f"{result.metric} of the challenger": result.challenger_score,
                    "gain (positive: better)": evidence.gain,
                    f"lower {1 - self.alpha:.0%} limit of the gain": evidence.interval.low,
                    "margin": self.margin,
                    "p-value of superiority": evidence.p_value,
                    "test": evidence.test,
                },
            )
            better = result.decision == "better"
            figure = difference(evidence.interval, evidence.gain, self.margin, result.metric, better)
            page.figure("The challenger's gain", figure, "The bar spans both one-sided limits.")
        page.provenance(self.record).write(self.report.path)
        self.report.metadata.update(self.record.metadata())
        progress.report("compared", f"{result.decision}: {result.reason}", **result._asdict())
        return result
