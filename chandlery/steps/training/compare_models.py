"""The body of `compare_models`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chandlery import progress
from chandlery.errors import UserError
from chandlery.model import LoadedModel, read_manifest
from chandlery.provenance import Provenance
from chandlery.registry import download
from chandlery.report import Report, VerdictKind
from chandlery.steps.artifacts import Artifact, record_of
from chandlery.training.comparison import Contender, Decision, Evidence, compare, decide
from chandlery.training.dataset import open_rows
from chandlery.training.outcomes import champion_outcomes, outcomes_on_test
from chandlery.training.plots import difference
from chandlery.training.tensorflow import start_tensorflow

_COLOURS: dict[Decision, VerdictKind] = {
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

    The challenger's recipe loads the rows and defines the truth; each model featurizes, and its outputs are read,
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
    rows = open_rows(new.recipe, Path(dataset.path))
    ours = Contender(new.recipe, outcomes_on_test(new, rows))
    count = ours.outcomes.rows
    everything = np.arange(count)
    new_score = ours.score(metric, everything)

    record = new.provenance.with_(task=record_of(dataset).task, model_name=model_name)
    page = _Page(model_name, count, margin, alpha, record, report)
    if not champion_version:
        reason = (
            f"there is no champion yet; {metric} of the new model is {new_score:.4f} on {count} test rows"
        )
        return page.write(Compared("first", reason, metric, 0.0, new_score))
    folder = download(model_name, champion_version)
    if read_manifest(folder).digest == new.manifest.digest:
        reason = f"the new model is the champion, version {champion_version}: same weights, same recipe"
        return page.write(Compared("same", reason, metric, new_score, new_score))
    old = LoadedModel(folder)
    theirs = Contender(old.recipe, champion_outcomes(old, new.recipe, rows, Path(dataset.path)))
    old_score = theirs.score(metric, everything)
    evidence = compare(metric, theirs, ours, alpha, resamples, seed)
    decision, reason = decide(metric, champion_version, old_score, new_score, evidence, margin, alpha, count)
    return page.write(Compared(decision, reason, metric, old_score, new_score), evidence)


@dataclass(frozen=True)
class _Page:
    """The parts of the report that do not depend on the decision."""

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
