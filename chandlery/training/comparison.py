"""Is the challenger good enough to be tried on real traffic?

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
from typing import Literal

import numpy as np

from chandlery.arrays import pick
from chandlery.errors import RecipeError
from chandlery.recipe import Recipe, guarded
from chandlery.training.classification import class_indices, probabilities
from chandlery.training.fitting import evaluate
from chandlery.training.outcomes import Outcomes
from chandlery.training.statistics import (
    Interval,
    bootstrap,
    bootstrap_p,
    mcnemar,
    resample,
    sign_flip,
    tango_lower,
)

Decision = Literal["better", "worse", "same", "first"]


@dataclass(frozen=True)
class Evidence:
    """Result of the paired test; gains are positive when the challenger is better.

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
class Contender:
    """A model's outputs on the test rows, read by its own recipe: outputs of another recipe may have another scale.

    Attributes:
        recipe: the model's recipe.
        outcomes: labels, truth and the model's outputs on the test rows; the truth comes from the challenger's recipe.
    """

    recipe: Recipe
    outcomes: Outcomes

    def score(self, metric: str, chosen: np.ndarray) -> float:
        """Return a metric of the chosen rows; raises RecipeError when the recipe lacks it."""
        truth, outputs = pick(self.outcomes.truth, chosen), pick(self.outcomes.outputs, chosen)
        figures = evaluate(self.recipe, truth, outputs)
        if metric not in figures:
            raise RecipeError(
                f"{type(self.recipe).__name__}.metrics of the champion does not return {metric!r}",
                "keep the objective of the champion, or register under another name",
            )
        return figures[metric]

    def right(self) -> np.ndarray:
        """Return which rows are classified correctly, (n,)."""
        count = len(self.recipe.classes)
        truth = class_indices(np.asarray(self.outcomes.labels), count)
        return np.asarray(probabilities(self.outcomes.outputs, count).argmax(axis=1) == truth)

    def errors(self) -> np.ndarray:
        """Return the absolute error of each row, (n,)."""
        answer = next(iter(guarded(self.recipe, "answer", self.outcomes.outputs).values()))
        return np.asarray(np.abs(np.asarray(answer, dtype="float64") - self.outcomes.truth))

    def single(self) -> bool:
        """Return whether each row has one target and one array of outputs."""
        return isinstance(self.outcomes.truth, np.ndarray) and isinstance(self.outcomes.outputs, np.ndarray)


def compare(metric: str, old: Contender, new: Contender, alpha: float, resamples: int, seed: int) -> Evidence:
    """Return the result of the paired test of two models: gain, its interval, the p-value of superiority.

    A classification is tested by McNemar's test, a regression by a sign-flip test, all else (several targets or
    outputs, several labels, custom metrics) by the bootstrap of the gain.

    Args:
        metric: name of the objective.
        old: the champion.
        new: the challenger.
        alpha: error of each one-sided test.
        resamples: resamples of bootstrap and permutation.
        seed: seed of both.
    """
    sign = 1 if new.recipe.maximise() else -1
    rows = new.outcomes.rows

    def gain(chosen: np.ndarray) -> dict[str, float]:
        return {"gain": sign * (new.score(metric, chosen) - old.score(metric, chosen))}

    observed = gain(np.arange(rows))["gain"]
    interval = bootstrap(gain, rows, resamples, 1 - 2 * alpha, seed)["gain"]
    plain = new.single() and old.single()
    if plain and new.recipe.task == "regression" and np.ndim(new.outcomes.truth) == 1:
        p_value = sign_flip(old.errors() - new.errors(), resamples, seed)
        return Evidence(observed, interval, p_value, "sign-flip test on absolute errors")
    if not plain or not new.recipe.classifies():
        p_value = bootstrap_p(resample(gain, rows, resamples, seed), "gain")
        return Evidence(observed, interval, p_value, "bootstrap of the gain")
    ours, theirs = new.right(), old.right()
    wins, losses = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if np.isclose(observed, ours.mean() - theirs.mean()):
        # The objective is the share of right answers: its own interval holds where a bootstrap is too sure.
        low, high = tango_lower(wins, losses, rows, alpha), -tango_lower(losses, wins, rows, alpha)
        interval = Interval(low, high)
    name = f"McNemar's exact test: only the challenger right {wins} times, only the champion {losses} times"
    return Evidence(observed, interval, mcnemar(wins, losses), name)
