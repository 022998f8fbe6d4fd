"""The one place that imports TensorFlow for training: quiet, seeded, deterministic on request."""

from __future__ import annotations

import os

from chandlery.lean import load_tensorflow
from chandlery.provenance import TASK_VARIABLE


def start_tensorflow(seed: int, deterministic: bool) -> None:
    """Import TensorFlow and Keras and seed every generator that they, numpy and Python keep.

    Args:
        seed: 0 to 2**32 - 1.
        deterministic: make each operation give the same bits on the same machine; some run slower. It holds for
            the rest of the process.
    """
    # Read once, when the library is loaded. What it still prints comes before its logging is set up.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if os.environ.get(TASK_VARIABLE):
        load_tensorflow()
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
