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
from pathlib import Path
from typing import Literal

import numpy as np

from chandlery.errors import RecipeError
from chandlery.recipe import Columns, Recipe, guarded
from chandlery.training.classification import class_indices, probabilities
from chandlery.training.dataset import part_of, read_rows, size
from chandlery.training.fitting import evaluate
from chandlery.training.statistics import Interval, bootstrap, mcnemar, sign_flip, tango_lower

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
        rows: the test rows as that recipe knows them; the target comes from the challenger's recipe.
        outputs: the model's outputs (n, ...).
    """

    recipe: Recipe
    rows: Columns
    outputs: np.ndarray

    def score(self, metric: str, chosen: np.ndarray) -> float:
        """Return a metric of the chosen rows; raises RecipeError when the recipe lacks it."""
        figures = evaluate(self.recipe, self.rows[self.recipe.target][chosen], self.outputs[chosen])
        if metric not in figures:
            raise RecipeError(
                f"{type(self.recipe).__name__}.metrics of the champion does not return {metric!r}",
                "keep the objective of the champion, or register under another name",
            )
        return figures[metric]

    def right(self) -> np.ndarray:
        """Return which rows are classified correctly, (n,)."""
        count = len(self.recipe.classes)
        truth = class_indices(np.asarray(guarded(self.recipe, "labels", self.rows)), count)
        return np.asarray(probabilities(self.outputs, count).argmax(axis=1) == truth)

    def errors(self) -> np.ndarray:
        """Return the absolute error of each row, (n,)."""
        answer = next(iter(guarded(self.recipe, "answer", self.outputs).values()))
        return np.asarray(np.abs(np.asarray(answer, dtype="float64") - self.rows[self.recipe.target]))


def compare(metric: str, old: Contender, new: Contender, alpha: float, resamples: int, seed: int) -> Evidence:
    """Return the result of the paired test of two models: gain, its interval, the p-value of superiority.

    Args:
        metric: name of the objective.
        old: the champion.
        new: the challenger.
        alpha: error of each one-sided test.
        resamples: resamples of bootstrap and permutation.
        seed: seed of both.
    """
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


def champion_rows(
    champion: Recipe, challenger: Recipe, folder: Path, rows: Columns, test: Columns
) -> Columns:
    """Return the test rows as the champion's recipe knows them, the truth as the challenger's recipe knows it.

    Args:
        champion: the champion's recipe.
        challenger: the challenger's recipe.
        folder: folder of raw data.
        rows: all rows as the challenger's recipe reads them.
        test: its test rows.

    Raises:
        RecipeError: the champion's recipe reads another number of rows.
    """
    truth = {champion.target: test[challenger.target]}
    needed = {column.name: (column.dtype, column.shape) for column in champion.inputs()}
    offered = {column.name: (column.dtype, column.shape) for column in challenger.inputs()}
    if needed.items() <= offered.items():
        return {name: test[name] for name in needed} | truth
    # Another schema: the champion reads the same files by itself; the rows must be the same ones.
    own = read_rows(champion, folder)
    if size(own) != size(rows):
        raise RecipeError(
            f"the champion's recipe reads {size(own)} rows where the challenger's reads {size(rows)}",
            "they cannot be paired: keep the rows that load() returns the same, or register under another name",
        )
    chosen = part_of(challenger, rows) == "test"
    return {name: own[name][chosen] for name in needed} | truth
