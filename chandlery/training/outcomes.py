"""A model's outputs on a part of a dataset, with the labels and the truth: in memory, or chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from chandlery.arrays import concatenate
from chandlery.errors import RecipeError
from chandlery.model import LoadedModel
from chandlery.recipe import Columns, Recipe, take
from chandlery.training.dataset import (
    Chunks,
    check_part,
    featurize,
    label_arrays,
    open_rows,
    part_of,
    size,
)


@dataclass(frozen=True)
class Outcomes:
    """What a model said of n rows, and what was true; features are not kept.

    Attributes:
        outputs: the model's outputs (n, ...), or several by name.
        labels: the labels as training takes them.
        truth: the raw target column, or several by name.
        slices: the columns that the recipe names as slices.
    """

    outputs: Any
    labels: Any
    truth: Any
    slices: Columns

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.truth.values())) if isinstance(self.truth, dict) else self.truth)


def outcomes_of(recipe: Recipe, rows: Columns, outputs: Any) -> Outcomes:
    """Return the outcomes of a model whose outputs on labelled rows are known."""
    return Outcomes(
        outputs, label_arrays(recipe, rows), recipe.truth(rows), {name: rows[name] for name in recipe.slices}
    )


def outcomes_on_test(model: LoadedModel, rows: Columns | Chunks) -> Outcomes:
    """Run a model on the test part of a dataset that its own recipe reads.

    Raises:
        RecipeError: a method of the recipe raised.
        TrainingError: the test part has no rows.
    """
    recipe = model.recipe
    return _joined([outcomes_of(recipe, part, _outputs(model, part)) for part in _test_parts(recipe, rows)])


def champion_outcomes(
    champion: LoadedModel, challenger: Recipe, rows: Columns | Chunks, folder: Path
) -> Outcomes:
    """Run a champion on the test part as the challenger's recipe splits it, the truth as that recipe knows it.

    Args:
        champion: the champion; it featurizes by its own recipe.
        challenger: the challenger's recipe.
        rows: the dataset as the challenger's recipe reads it.
        folder: folder of raw data.

    Raises:
        RecipeError: a method of a recipe raised, or the champion's recipe reads another number of rows or has other
            targets.
        TrainingError: the test part has no rows.
    """
    recipe = champion.recipe
    if len(recipe.targets()) != len(challenger.targets()):
        raise RecipeError(
            f"the champion's recipe has the targets {', '.join(recipe.targets())}, "
            f"the challenger's {', '.join(challenger.targets())}",
            "they cannot be paired: register under another name",
        )
    needed = {column.name: (column.dtype, column.shape) for column in recipe.inputs()}
    offered = {column.name: (column.dtype, column.shape) for column in challenger.inputs()}
    parts: Iterator[tuple[Columns, Columns]]
    if needed.items() <= offered.items():
        parts = ((part, part) for part in _test_parts(challenger, rows))
    else:
        # Another schema: the champion reads the same files by itself; the rows must be the same ones.
        parts = _paired(recipe, challenger, rows, folder)
    found = []
    for seen, part in parts:
        truth = {own: part[other] for own, other in zip(recipe.targets(), challenger.targets(), strict=True)}
        labelled = {name: seen[name] for name in needed} | truth
        found.append(
            Outcomes(_outputs(champion, labelled), label_arrays(recipe, labelled), recipe.truth(labelled), {})
        )
    return _joined(found)


def _outputs(model: LoadedModel, rows: Columns) -> Any:
    return model.forward(featurize(model.recipe, rows, model.state))


def _chunks(rows: Columns | Chunks) -> Iterator[Columns]:
    if isinstance(rows, Chunks):
        yield from rows
    else:
        yield rows


def _test_parts(recipe: Recipe, rows: Columns | Chunks) -> Iterator[Columns]:
    total = tested = 0
    for chunk in _chunks(rows):
        test = part_of(recipe, chunk) == "test"
        total += size(chunk)
        if test.any():
            tested += int(test.sum())
            yield take(chunk, test)
    check_part("test", tested, total)


def _paired(
    champion: Recipe, challenger: Recipe, rows: Columns | Chunks, folder: Path
) -> Iterator[tuple[Columns, Columns]]:
    """Yield the test rows of both recipes side by side, in pieces."""
    test = np.concatenate([part_of(challenger, chunk) == "test" for chunk in _chunks(rows)])
    theirs = _rows_where(test, rows)
    count = 0
    pending: Columns = {}
    for chunk in _chunks(open_rows(champion, folder)):
        chosen = test[count : count + size(chunk)]
        count += size(chunk)
        if count > len(test):
            break
        own = take(chunk, chosen)
        while size(pending) < size(own):
            more = next(theirs)
            pending = concatenate([pending, more]) if pending else more
        if size(own):
            yield own, take(pending, slice(0, size(own)))
            pending = take(pending, slice(size(own), None))
    if count != len(test):
        raise RecipeError(
            f"the champion's recipe reads {count if count < len(test) else 'more'} rows where the challenger's reads "
            f"{len(test)}",
            "they cannot be paired: keep the rows that load() returns the same, or register under another name",
        )


def _rows_where(test: np.ndarray, rows: Columns | Chunks) -> Iterator[Columns]:
    start = 0
    for chunk in _chunks(rows):
        yield take(chunk, test[start : start + size(chunk)])
        start += size(chunk)


def _joined(found: list[Outcomes]) -> Outcomes:
    if len(found) == 1:
        return found[0]
    return Outcomes(*(concatenate([getattr(o, f.name) for o in found]) for f in fields(Outcomes)))
