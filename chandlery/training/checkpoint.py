"""Where training stands after an epoch, on disk: one file, replaced atomically.

It goes through TensorFlow's file layer, so that a folder may be local or `gs://`; there a write of an object is
atomic by itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chandlery import addresses
from chandlery.errors import TrainingError
from chandlery.recipe import Value

FILE = "checkpoint.npz"


@dataclass(frozen=True)
class CheckpointState:
    """State from which a training continues.

    Attributes:
        epoch: epochs finished.
        variables: the model's variables in order, states of its random generators included.
        optimizer: the optimizer's variables in order.
        best: weights of the best epoch so far; empty when they were not asked for.
        history: figures of each epoch.
    """

    epoch: int
    variables: Sequence[np.ndarray]
    optimizer: Sequence[np.ndarray]
    best: Sequence[np.ndarray] = ()
    history: Sequence[dict[str, float]] = field(default_factory=list)


def training_key(
    recipe_reference: str, data: str, parameters: Mapping[str, Value], seed: int, deterministic: bool
) -> str:
    """Return the name of a training run: equal inputs, equal key, so that a retry finds its own checkpoint.

    Args:
        recipe_reference: the pinned reference; it carries class and source digest.
        data: what names the data for good: `repo@commit`, or a digest of its content.
        parameters: all hyperparameters.
        seed: the seed.
        deterministic: whether operations are deterministic.
    """
    text = json.dumps([recipe_reference, data, dict(parameters), seed, deterministic], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def checkpoint_folder(key: str) -> str:
    """Return the folder of a training run's checkpoint below the artifacts endpoint."""
    return f"{addresses.endpoints().artifacts.rstrip('/')}/checkpoints/{key}"


def save(folder: str, state: CheckpointState) -> None:
    """Write the state to `folder`, complete or not at all.

    Raises:
        TrainingError: the folder cannot be written.
    """
    import tensorflow as tf

    arrays = {
        f"{name}{index}": array
        for name in ("variables", "optimizer", "best")
        for index, array in enumerate(getattr(state, name))
    }
    buffer = io.BytesIO()
    np.savez(buffer, state=json.dumps({"epoch": state.epoch, "history": list(state.history)}), **arrays)
    partial = f"{folder}/.{FILE}.{os.getpid()}"
    try:
        tf.io.gfile.makedirs(folder)
        with tf.io.gfile.GFile(partial, "wb") as out:
            out.write(buffer.getvalue())
        tf.io.gfile.rename(partial, f"{folder}/{FILE}", overwrite=True)
    except (tf.errors.OpError, OSError) as error:
        raise TrainingError(
            f"cannot write the checkpoint in {folder}: {error}",
            "free space, or set CHANDLERY_ARTIFACTS to a folder or gs:// address that can be written",
        ) from error


def load(folder: str) -> CheckpointState | None:
    """Read the state in `folder`; None when there is none, or one that cannot be read."""
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(f"{folder}/{FILE}", "rb") as source:
            content = source.read()
    except (tf.errors.OpError, OSError):
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            header: dict[str, Any] = json.loads(str(archive["state"]))
            return CheckpointState(
                epoch=header["epoch"],
                variables=_sequence(archive, "variables"),
                optimizer=_sequence(archive, "optimizer"),
                best=_sequence(archive, "best"),
                history=header["history"],
            )
    except (ValueError, KeyError, OSError, zipfile.BadZipFile):
        return None  # of another release, or damaged: training begins again, which is always right


def remove(folder: str) -> None:
    """Remove the checkpoint in `folder`; nothing there is fine."""
    import tensorflow as tf

    try:
        tf.io.gfile.rmtree(folder)
    except (tf.errors.OpError, OSError):
        return  # a left-over costs a few kilobytes; a second run with the same key may just have removed it


def _sequence(archive: Any, name: str) -> list[np.ndarray]:
    count = sum(1 for key in archive.files if key.startswith(name))
    return [archive[f"{name}{index}"] for index in range(count)]
