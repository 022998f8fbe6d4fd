"""Fits a recipe's model: the one loop that a search trial and `train_model` share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.arrays import concatenate, count, pick
from chandlery.errors import RecipeError, TrainingError
from chandlery.frameworks import advice, is_trainable
from chandlery.frameworks.keras import arrays, is_keras, tensors
from chandlery.frameworks.litert import CHECKED_ROWS
from chandlery.recipe import Columns, LoadedRecipe, Recipe, State, Value, built, guarded
from chandlery.training import checkpoint
from chandlery.training.dataset import Chunks
from chandlery.training.parameters import complete
from chandlery.training.passes import Data, open_data
from chandlery.training.tensorflow import start_tensorflow

if TYPE_CHECKING:
    import keras

PREDICT_ROWS = 4096  # rows of one forward pass outside training: bounds memory, not results


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        model: the model; of Keras with the weights of the epoch kept.
        parameters: all hyperparameters used.
        metrics: the recipe's metrics on the validation split, and `loss`, both of the epoch kept.
        objective: the recipe's objective among them.
        history: for each epoch `epoch` (from 1), `training_loss`, `loss` and the metrics on the validation split.
        epoch: the epoch kept, from 1.
        resumed: epochs that a checkpoint saved from being trained again.
        rows: number of rows trained on.
        state: what the recipe's `fit` learned.
        features: features of one row, for types and shapes.
        example: one row of the validation split, without the target.
        validation: features of up to 256 rows of the validation split; None for a model that is not of Keras.
    """

    model: Any
    parameters: dict[str, Value]
    metrics: dict[str, float]
    objective: float
    history: list[dict[str, float]]
    epoch: int
    resumed: int
    rows: int
    state: State
    features: Any
    example: Columns
    validation: Any


def fit(
    loaded: LoadedRecipe,
    rows: Columns | Chunks,
    parameters: Mapping[str, Any],
    seed: int = 0,
    checkpoint_folder: str = "",
    deterministic: bool = True,
    on_epoch: Callable[[dict[str, float]], None] = lambda figures: None,
) -> Fit:
    """Fit the recipe's model on the training part of `rows`.

    Everything random comes from the seed: initial weights from `seed`, the order of rows and the operations'
    generators from (`seed`, epoch). So a run that was killed and resumed from its checkpoint ends with the same
    weights as one that was not.

    Args:
        loaded: the recipe.
        rows: raw rows, as `dataset.open_rows` returns them.
        parameters: hyperparameters; defaults are filled in. `epochs`, `batch_size` and `patience` steer training.
        seed: 0 to 2**32 - 1.
        checkpoint_folder: local folder or `gs://` address to save to after each epoch and to resume from; "" for none.
        deterministic: use deterministic operations.
        on_epoch: called with the figures of each epoch trained here.

    Returns:
        the fitted model with its figures.

    Raises:
        RecipeError: a method of the recipe raised or returned the wrong thing.
        TrainingError: too few rows, or the loss is not finite.
        UserError: a parameter is unknown or does not fit.
    """
    recipe = loaded.recipe
    values = complete(recipe, parameters)
    start_tensorflow(seed, deterministic)
    with open_data(recipe, rows) as data:
        model = _build(recipe, values, data)
        fitted = _fit_keras if is_keras(model) else _fit_other
        return fitted(recipe, model, data, values, seed, checkpoint_folder, on_epoch)


def _fit_keras(
    recipe: Recipe,
    model: keras.Model,
    data: Data,
    values: dict[str, Value],
    seed: int,
    checkpoint_folder: str,
    on_epoch: Callable[[dict[str, float]], None],
) -> Fit:
    epochs, patience = int(values["epochs"]), int(values["patience"])
    history, best, done = _resume(model, checkpoint_folder)
    for epoch in range(done, epochs):
        if _stale(recipe, history, patience):
            break
        training_loss = _train_epoch(model, data, int(values["batch_size"]), seed, epoch)
        figures = {"epoch": float(epoch + 1), "training_loss": training_loss}
        figures |= _validate(recipe, model, data)
        _check_finite(recipe, figures)
        history.append(figures)
        if patience and _best(recipe, history) == epoch:
            best = [np.array(weight) for weight in model.get_weights()]
        if checkpoint_folder:
            variables, optimizer = _arrays(model.variables), _arrays(model.optimizer.variables)
            checkpoint.save(
                checkpoint_folder, checkpoint.CheckpointState(epoch + 1, variables, optimizer, best, history)
            )
        on_epoch(figures)
    kept = _best(recipe, history) if patience else len(history) - 1
    if best:
        model.set_weights(best)
    metrics = {name: v for name, v in history[kept].items() if name not in ("epoch", "training_loss")}
    objective = metrics[recipe.objective]
    return Fit(
        model,
        values,
        metrics,
        objective,
        history,
        kept + 1,
        done,
        data.rows(),
        data.state,
        data.first_features(),
        data.example(),
        data.some_validation(CHECKED_ROWS),
    )


def _fit_other(
    recipe: Recipe,
    model: Any,
    data: Data,
    values: dict[str, Value],
    seed: int,
    checkpoint_folder: str,
    on_epoch: Callable[[dict[str, float]], None],
) -> Fit:
    """Fit a model that trains itself; it has no checkpoints, so a retry begins again and ends with the same model."""
    features, labels = data.training()
    validation = data.validation()
    what = f"{type(recipe).__name__}: fit of {type(model).__name__}"
    history: list[dict[str, float]] = []
    try:
        rounds = model.fit(features, labels, validation=(validation.features, validation.labels), seed=seed)
        for number, figures in enumerate(rounds or (), start=1):
            history.append({"epoch": float(number), **{str(n): float(v) for n, v in figures.items()}})
    except (RecipeError, TrainingError):
        raise
    except Exception as error:
        raise TrainingError(
            f"{what} raised {type(error).__name__}: {error}", "check features, labels and hyperparameters"
        ) from error
    metrics = evaluate(recipe, validation.truth, predict(model, validation.features))
    if not math.isfinite(metrics[recipe.objective]):
        raise TrainingError(f"{recipe.objective} is {metrics[recipe.objective]}", "check the features")
    history = history or [{"epoch": 1.0}]
    history[-1] |= metrics
    for figures in history:
        on_epoch(figures)
    objective = metrics[recipe.objective]
    return Fit(
        model,
        values,
        metrics,
        objective,
        history,
        len(history),
        0,
        data.rows(),
        data.state,
        data.first_features(),
        data.example(),
        None,
    )


def _validate(recipe: Recipe, model: keras.Model, data: Data) -> dict[str, float]:
    """Return loss and metrics on the validation part."""
    parts = [(part.labels, part.truth, forward(model, part.features)) for part in data.validation_parts()]
    labels, truth, outputs = (concatenate(list(whole)) for whole in zip(*parts, strict=True))
    loss = float(model.compute_loss(y=labels, y_pred=outputs, training=False))
    return {"loss": loss, **evaluate(recipe, truth, outputs)}


def forward(model: keras.Model, features: Any) -> Any:
    """Return the Keras model's outputs (n, ...) for features (n, ...), in inference mode."""
    starts = range(0, count(features), PREDICT_ROWS)
    return concatenate(
        [arrays(model(tensors(pick(features, slice(s, s + PREDICT_ROWS))), training=False)) for s in starts]
    )


def predict(model: Any, features: Any) -> Any:
    """Return the outputs (n, ...) of a model of another framework.

    Raises:
        TrainingError: `predict` raised, or did not return a row for each row.
    """
    try:
        outputs = model.predict(features)
    except Exception as error:
        raise TrainingError(
            f"predict of {type(model).__name__} raised {type(error).__name__}: {error}", "check the features"
        ) from error
    if count(outputs) != count(features):
        raise TrainingError(
            f"predict of {type(model).__name__} returned {count(outputs)} rows for {count(features)}",
            "return a row for each row",
        )
    return outputs


def evaluate(recipe: Recipe, truth: Any, outputs: Any) -> dict[str, float]:
    """Return the recipe's metrics, checked.

    Raises:
        RecipeError: `metrics` raised.
        TrainingError: the objective is not among them.
    """
    returned = guarded(recipe, "metrics", truth, outputs)
    try:
        metrics = {str(name): float(value) for name, value in returned.items()}
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise RecipeError(
            f"{type(recipe).__name__}.metrics returned {repr(returned)[:80]}: {error}",
            "return a dict of numbers by name",
        ) from error
    if recipe.objective not in metrics:
        raise TrainingError(
            f"{type(recipe).__name__}.metrics does not return its objective {recipe.objective!r}",
            f"it returns: {', '.join(metrics) or 'nothing'}",
        )
    return metrics


def _build(recipe: Recipe, values: Mapping[str, Value], data: Data) -> Any:
    features = data.sample()
    model = built(recipe, values, features, data.state)
    if not is_keras(model) and is_trainable(model):
        return model
    if getattr(model, "optimizer", None) is None:
        raise TrainingError(
            f"{type(recipe).__name__}.build did not return a compiled Keras model",
            "call model.compile(optimizer, loss=...) before returning it"
            if is_keras(model)
            else advice(model),
        )
    if not model.built:
        model(tensors(pick(features, slice(0, 1))), training=False)
    # Its variables must exist before a checkpoint can fill them.
    model.optimizer.build(model.trainable_variables)
    return model


def _train_epoch(model: keras.Model, data: Data, batch: int, seed: int, epoch: int) -> float:
    import keras

    sequence = np.random.SeedSequence([seed, epoch])
    # Also what a recipe's own layers draw from generators that no checkpoint holds depends on (seed, epoch) alone.
    keras.utils.set_random_seed(int(sequence.generate_state(1)[0]))
    model.reset_metrics()
    loss = math.nan
    for features, labels in data.batches(batch, np.random.default_rng(sequence)):
        try:
            figures = model.train_on_batch(features, labels, return_dict=True)
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise TrainingError(
                f"training failed in epoch {epoch + 1}: {type(error).__name__}: {first}",
                "check the labels and the shapes of build()",
            ) from error
        loss = float(figures["loss"])  # the mean over the epoch so far
    return loss


def _resume(model: keras.Model, folder: str) -> tuple[list[dict[str, float]], list[np.ndarray], int]:
    state = checkpoint.load(folder) if folder else None
    if state is None or not (
        _fits(model.variables, state.variables) and _fits(model.optimizer.variables, state.optimizer)
    ):
        return [], [], 0
    for variable, array in zip(model.variables, state.variables, strict=True):
        variable.assign(array)
    for variable, array in zip(model.optimizer.variables, state.optimizer, strict=True):
        variable.assign(array)
    return list(state.history), list(state.best), state.epoch


def _fits(variables: Any, arrays: Any) -> bool:
    return [tuple(v.shape) for v in variables] == [a.shape for a in arrays]


def _arrays(variables: Any) -> list[np.ndarray]:
    return [np.array(variable) for variable in variables]


def _best(recipe: Recipe, history: list[dict[str, float]]) -> int:
    values = [figures[recipe.objective] for figures in history]
    return int(np.argmax(values) if recipe.maximise() else np.argmin(values))


def _stale(recipe: Recipe, history: list[dict[str, float]], patience: int) -> bool:
    return bool(patience and history) and len(history) - 1 - _best(recipe, history) >= patience


def _check_finite(recipe: Recipe, figures: Mapping[str, float]) -> None:
    for name in ("training_loss", "loss", recipe.objective):
        if not math.isfinite(figures[name]):
            raise TrainingError(
                f"{name} is {figures[name]} in epoch {int(figures['epoch'])}",
                "training diverged: try a lower learning rate, or check the features",
            )
