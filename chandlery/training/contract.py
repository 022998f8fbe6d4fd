"""Runs each method of a recipe on a few rows and tells what breaks the contract, before anything is trained.

    python -m chandlery.training.contract --recipe REF --dataset FOLDER

The rows come from the dataset, or are made up from the schema. The order is that of a training: `fit`, `featurize`,
`labels`, `build`, one call of the model, `metrics`, `answer`, `wrong`. A method whose input is missing, because an
earlier one failed, is not called.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chandlery import state as states
from chandlery.arrays import count, describe, pick
from chandlery.errors import ChandleryError, RecipeError
from chandlery.recipe import (
    Column,
    Columns,
    Recipe,
    State,
    built,
    guarded,
    learn,
    learns,
    load_recipe,
    part_of,
    take,
)
from chandlery.training.dataset import Chunks, featurize, label_arrays, open_rows

ROWS = 48  # rows that the methods are run on
GAPS = slice(5, None, 16)  # which made-up rows have no value where it may be missing

METHODS = ("load", "fit", "featurize", "labels", "build", "model", "metrics", "answer", "wrong")


@dataclass(frozen=True)
class Breach:
    """A method that breaks the contract.

    Attributes:
        method: its name; `model` for a call of what `build` returned.
        problem: what is wrong.
        hint: what to do.
    """

    method: str
    problem: str
    hint: str


@dataclass
class Checked:
    """Result of a check.

    Attributes:
        rows: number of rows that the methods were run on.
        made_up: the rows were made up from the schema.
        passed: what each method returned, in words, by method.
        breaches: what breaks the contract.
    """

    rows: int
    made_up: bool
    passed: dict[str, str] = field(default_factory=dict)
    breaches: list[Breach] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing breaks the contract."""
        return not self.breaches

    def skipped(self, methods: tuple[str, ...] = METHODS) -> list[str]:
        """Return the methods that were not called."""
        known = {*self.passed, *(breach.method for breach in self.breaches)}
        return [method for method in methods if method not in known]

    @contextmanager
    def method(self, name: str) -> Iterator[None]:
        """Note what the block raises as a breach of the method."""
        try:
            yield
        except ChandleryError as error:
            self.breaches.append(Breach(name, error.message, error.hint))
            self.passed.pop(name, None)
        except Exception as error:
            text = str(error).strip().splitlines()
            self.breaches.append(
                Breach(name, f"{type(error).__name__}: {text[0] if text else ''}", "correct the recipe")
            )
            self.passed.pop(name, None)

    def demand(self, holds: bool, name: str, problem: str, hint: str) -> None:
        """Note a breach unless something holds."""
        if not holds:
            self.breaches.append(Breach(name, problem, hint))


def check_recipe(recipe: Recipe, rows: Columns | None, with_model: bool = True) -> Checked:
    """Run a recipe's methods on a few rows.

    Args:
        recipe: the recipe.
        rows: labelled rows, checked against the schema; None: rows are made up from it.
        with_model: build the model and call it; needs its framework.

    Returns:
        what was found; nothing is raised for what a recipe does.
    """
    found = Checked(0, rows is None)
    given = example_rows(recipe, ROWS) if rows is None else few(rows)
    found.rows = count(given)
    if rows is not None:
        found.passed["load"] = ", ".join(f"{name} {describe(array)}" for name, array in given.items())
    state = _fit(found, recipe, given)
    features = None if state is None else _features(found, recipe, given, state)
    with found.method("labels"):
        labels = label_arrays(recipe, given)
        found.passed["labels"] = describe(labels)
    if with_model and features is not None and state is not None and "labels" in found.passed:
        outputs = _model(found, recipe, features, labels, state)
        if outputs is not None:
            _answers(found, recipe, given, outputs)
    return found


def require(recipe: Recipe, rows: Columns | Chunks, with_model: bool = True) -> None:
    """Check a recipe on the first training rows of a dataset; on one without any, which no training takes, nothing.

    Raises:
        RecipeError: it breaks the contract; the message tells the first breach.
    """
    first = training_rows(recipe, rows)
    if not first:
        return
    found = check_recipe(recipe, first, with_model)
    if found.breaches:
        breach = found.breaches[0]
        more = f" (and {len(found.breaches) - 1} more: run `chandlery check`)" if found.breaches[1:] else ""
        name = type(recipe).__name__
        problem = breach.problem if name in breach.problem else f"{name}.{breach.method}: {breach.problem}"
        raise RecipeError(f"{problem}{more}", breach.hint)


def training_rows(recipe: Recipe, rows: Columns | Chunks) -> Columns:
    """Return some rows of the training part, which are all that `fit` may see; empty when there are none.

    Of a dataset that is read in chunks they come from the first chunk that has any.
    """
    for chunk in rows if isinstance(rows, Chunks) else (rows,):
        # A sample first: hashing a large dataset takes longer than checking the recipe.
        for candidates in (few(chunk, 4 * ROWS), chunk):
            chosen = part_of(recipe, candidates) == "train"
            if chosen.any():
                return few(take(candidates, chosen))
    return {}


def few(rows: Columns, most: int = ROWS) -> Columns:
    """Return at most `most` rows, spread evenly."""
    total = count(rows)
    return take(rows, np.unique(np.linspace(0, total - 1, min(total, most)).astype(int)))


def example_rows(recipe: Recipe, rows: int) -> Columns:
    """Return made-up rows that the schema allows, always the same ones."""
    random = np.random.default_rng(0)
    made = {column.name: _with_gaps(column, _made_up(column, rows, random)) for column in recipe.schema}
    for column in recipe.schema:
        if recipe.classifies() and recipe.classes and column.name in recipe.targets() and not column.allowed:
            classes = np.array(recipe.classes) if column.dtype == "str" else np.arange(len(recipe.classes))
            made[column.name] = np.resize(classes, (rows, *column.shape)).astype(
                str if column.dtype == "str" else column.dtype
            )
    return made


def _with_gaps(column: Column, values: np.ndarray) -> np.ndarray:
    """Return made-up values of a column, some of them missing where it is nullable."""
    if not column.nullable or column.dtype == "bool":
        return values
    if column.dtype != "str":
        values = values.astype(column.dtype if column.dtype.startswith("float") else "float64")
    values[GAPS] = "" if column.dtype == "str" else np.nan
    return values


def _made_up(column: Column, rows: int, random: np.random.Generator) -> np.ndarray:
    shape = (rows, *column.shape)
    if column.allowed:
        values = np.resize(np.array(column.allowed), shape)
        return values.astype(str if column.dtype == "str" else column.dtype)
    if column.dtype == "str":
        return np.resize(np.array(["one", "two words", "three short words"]), shape)
    if column.dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    low = column.minimum if column.minimum is not None else min(0.0, (column.maximum or 1.0) - 1.0)
    high = column.maximum if column.maximum is not None else low + 10.0
    drawn = random.uniform(low, high, shape)
    return (np.floor(drawn) if "int" in column.dtype else drawn).astype(column.dtype)


def _fit(found: Checked, recipe: Recipe, rows: Columns) -> State | None:
    if not learns(recipe):
        return {}
    state: State | None = None
    with found.method("fit"):
        state = learn(recipe, rows)
        found.passed["fit"] = (
            ", ".join(f"{name}: {_kind(value)}" for name, value in state.items()) or "nothing"
        )
        found.demand(
            states.digest(state) == states.digest(learn(recipe, rows)),
            "fit",
            "two calls on the same rows return different states",
            "draw nothing at random, and do not depend on the order of a set",
        )
    return state


def _kind(value: object) -> str:
    return describe(value) if isinstance(value, np.ndarray) else type(value).__name__


def _features(found: Checked, recipe: Recipe, rows: Columns, state: State) -> Any:
    features: Any = None
    with found.method("featurize"):
        mine = {name: array.copy() for name, array in rows.items()}
        features = featurize(recipe, mine, state)
        found.passed["featurize"] = describe(features)
        for name, array in mine.items():
            if not np.array_equal(array, rows[name], equal_nan=array.dtype.kind == "f"):
                raise RecipeError(f"featurize changed column {name!r} in place", "work on a copy")
        one = featurize(recipe, take(rows, slice(0, 1)), state)
        whole, alone = describe(pick(features, slice(0, 1))), describe(one)
        found.demand(
            whole == alone,
            "featurize",
            f"a row alone gives {alone}, the same row among others {whole}",
            "give every row the same type and shape, whatever stands beside it",
        )
        found.demand(
            whole != alone or _equal(pick(features, slice(0, 1)), one),
            "featurize",
            "a row's features depend on the rows beside it",
            "learn means, vocabularies and the like in fit(self, rows)",
        )
    return features


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    return np.allclose(one, other, rtol=1e-5) if one.dtype.kind == "f" else bool(np.array_equal(one, other))


def _model(found: Checked, recipe: Recipe, features: Any, labels: Any, state: State) -> Any:
    from chandlery.frameworks import advice, is_trainable
    from chandlery.frameworks.keras import arrays, is_keras, tensors
    from chandlery.training.fitting import predict
    from chandlery.training.parameters import complete

    model = outputs = None
    with found.method("build"):
        values = complete(recipe, {})
        model = built(recipe, values, features, state)
        if not is_keras(model) and not is_trainable(model):
            raise RecipeError(
                f"build returned {type(model).__name__}",
                advice(model),
            )
        if is_keras(model) and getattr(model, "optimizer", None) is None:
            raise RecipeError(
                "build did not return a compiled Keras model",
                "call model.compile(optimizer, loss=...) before returning it",
            )
        found.passed["build"] = type(model).__name__
    if "build" not in found.passed:
        return None
    with found.method("model"):
        if is_keras(model):
            import keras

            outputs = arrays(model(tensors(features), training=False))
        else:
            for _ in model.fit(features, labels, validation=(features, labels), seed=0) or ():
                pass
            outputs = predict(model, features)
        found.passed["model"] = describe(outputs)
        found.demand(
            count(outputs) == found.rows,
            "model",
            f"the model returned {describe(outputs)} for {found.rows} rows",
            "return one row of outputs for each row",
        )
        if is_keras(model):
            loss = float(model.compute_loss(y=labels, y_pred=outputs, training=False))
            keras.backend.clear_session()  # the names of layers count on, and stand in the file of the next model
            found.demand(
                math.isfinite(loss),
                "model",
                f"the loss on the first rows is {loss}",
                "check labels and features",
            )
    return outputs if "model" in found.passed else None


def _answers(found: Checked, recipe: Recipe, rows: Columns, outputs: Any) -> None:
    from chandlery.training.fitting import evaluate

    with found.method("metrics"):
        figures = evaluate(recipe, recipe.truth(rows), outputs)
        found.passed["metrics"] = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    answers: Any = None
    with found.method("answer"):
        answers = guarded(recipe, "answer", outputs)
        _check_answers(answers, found.rows)
        found.passed["answer"] = describe(answers)
    if "answer" not in found.passed:
        return
    with found.method("wrong"):
        several = not isinstance(recipe.target, str)
        predicted = {name: plain(values[0]) for name, values in answers.items()}
        truth = {name: plain(rows[name][0]) for name in recipe.targets()}
        judged = guarded(
            recipe,
            "wrong",
            predicted if several else next(iter(predicted.values())),
            truth if several else next(iter(truth.values())),
        )
        if not isinstance(judged, (bool, np.bool_)):
            raise RecipeError(f"wrong returned {type(judged).__name__}", "return True or False")
        found.passed["wrong"] = str(bool(judged))


def _check_answers(answers: object, rows: int) -> None:
    if not isinstance(answers, Mapping) or not answers:
        raise RecipeError(
            f"answer returned {describe(answers) if isinstance(answers, np.ndarray) else type(answers).__name__}",
            "return a dict of arrays by name",
        )
    for name, values in answers.items():
        if not isinstance(values, np.ndarray) or values.ndim == 0 or len(values) != rows:
            raise RecipeError(
                f"answer: {name!r} is {describe(values)} for {rows} rows",
                "return an array with a row for each row",
            )
        if values.dtype.kind not in "biufU" and not (
            values.dtype.kind == "O" and all(isinstance(value, str) for value in values.flat)
        ):
            raise RecipeError(f"answer: {name!r} is {values.dtype}", "return numbers, booleans or texts")


def plain(value: Any) -> Any:
    """Return a numpy value as JSON would carry it."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def main(arguments: list[str] | None = None) -> int:
    """Run as `python -m chandlery.training.contract`; exit code 0 when the recipe keeps the contract, 2 when not."""
    parser = argparse.ArgumentParser(prog="python -m chandlery.training.contract", description=__doc__)
    parser.add_argument("--recipe", required=True, help="recipe reference")
    parser.add_argument("--dataset", required=True, type=Path, help="folder of raw data")
    options = parser.parse_args(arguments)
    try:
        recipe = load_recipe(options.recipe).recipe
        require(recipe, open_rows(recipe, options.dataset))
    except ChandleryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
