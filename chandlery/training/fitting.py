"""Fits a recipe's model: the one loop that a search trial and `train_model` share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.errors import RecipeError, TrainingError
from chandlery.example import example_row
from chandlery.recipe import Columns, LoadedRecipe, Recipe, Value, as_array, guarded
from chandlery.training import checkpoint
from chandlery.training.dataset import featurize, size, split
from chandlery.training.parameters import complete
from chandlery.training.tensorflow import start_tensorflow

if TYPE_CHECKING:
    import keras

PREDICT_ROWS = 4096  # rows of one forward pass outside training: bounds memory, not results


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        model: the Keras model, weights of the epoch kept.
        parameters: all hyperparameters used.
        metrics: the recipe's metrics on the validation split, and `loss`, both of the epoch kept.
        objective: the recipe's objective among them.
        history: for each epoch `epoch` (from 1), `training_loss`, `loss` and the metrics on the validation split.
        epoch: the epoch kept, from 1.
        resumed: epochs that a checkpoint saved from being trained again.
        rows: number of rows trained on.
        example: one row of the validation split, without the target.
    """

    model: keras.Model
    parameters: dict[str, Value]
    metrics: dict[str, float]
    objective: float
    history: list[dict[str, float]]
    epoch: int
    resumed: int
    rows: int
    example: Columns = field(default_factory=dict)


def fit(
    loaded: LoadedRecipe,
    rows: Columns,
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
        rows: raw rows, as `dataset.read_rows` returns them.
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
    epochs, patience = int(values["epochs"]), int(values["patience"])
    start_tensorflow(seed, deterministic)
    parts = split(recipe, rows)
    features, labels = featurize(recipe, parts.train), _labels(recipe, parts.train)
    model = _build(recipe, values, features)
    validation = featurize(recipe, parts.validation), _labels(recipe, parts.validation)
    truth = parts.validation[recipe.target]
    batch = min(int(values["batch_size"]), len(features))

    history, best, done = _resume(model, checkpoint_folder)
    for epoch in range(done, epochs):
        if _stale(recipe, history, patience):
            break
        training_loss = _train_epoch(model, features, labels, batch, seed, epoch)
        outputs = forward(model, validation[0])
        figures = {"epoch": float(epoch + 1), "training_loss": training_loss}
        figures["loss"] = float(model.compute_loss(y=validation[1], y_pred=outputs, training=False))
        figures |= evaluate(recipe, truth, outputs)
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
    example = example_row(recipe.inputs(), parts.validation)
    return Fit(
        model, values, metrics, metrics[recipe.objective], history, kept + 1, done, size(parts.train), example
    )


def forward(model: keras.Model, features: np.ndarray) -> np.ndarray:
    """Return the model's outputs (n, ...) for features (n, ...), in inference mode."""
    starts = range(0, len(features), PREDICT_ROWS)
    return np.concatenate([np.asarray(model(features[s : s + PREDICT_ROWS], training=False)) for s in starts])


def evaluate(recipe: Recipe, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
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


def _labels(recipe: Recipe, rows: Columns) -> np.ndarray:
    labels = as_array(guarded(recipe, "labels", rows), f"what {type(recipe).__name__}.labels returned")
    if labels.ndim == 0 or len(labels) != size(rows) or labels.dtype.kind not in "fiub":
        raise TrainingError(
            f"{type(recipe).__name__}.labels returned {labels.dtype}{list(labels.shape)} for {size(rows)} rows",
            "return a number (or an array of numbers) for each row",
        )
    return labels


def _build(recipe: Recipe, values: Mapping[str, Value], features: np.ndarray) -> keras.Model:
    model = guarded(recipe, "build", values, features)
    if getattr(model, "optimizer", None) is None:
        raise TrainingError(
            f"{type(recipe).__name__}.build did not return a compiled Keras model",
            "call model.compile(optimizer, loss=...) before returning it",
        )
    if not model.built:
        model(features[:1], training=False)
    # Its variables must exist before a checkpoint can fill them.
    model.optimizer.build(model.trainable_variables)
    return model


def _train_epoch(
    model: keras.Model, features: np.ndarray, labels: np.ndarray, batch: int, seed: int, epoch: int
) -> float:
    import keras

    sequence = np.random.SeedSequence([seed, epoch])
    # Also what a recipe's own layers draw from generators that no checkpoint holds depends on (seed, epoch) alone.
    keras.utils.set_random_seed(int(sequence.generate_state(1)[0]))
    order = np.random.default_rng(sequence).permutation(len(features))
    model.reset_metrics()
    loss = math.nan
    # Whole batches only: another shape would be traced again. The order changes, so each row has its turn.
    for start in range(0, len(order) - batch + 1, batch):
        chosen = order[start : start + batch]
        try:
            figures = model.train_on_batch(features[chosen], labels[chosen], return_dict=True)
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
