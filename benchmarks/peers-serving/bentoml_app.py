"""BentoML around a Keras model, with its batching on: `MODEL=... bentoml serve bentoml_app:Model`."""

import os

import bentoml
import numpy as np


@bentoml.service(workers=1, traffic={"timeout": 60})
class Model:
    """One row a request; BentoML puts up to 32 of them into one call."""

    def __init__(self):
        import keras
        import tensorflow as tf

        model = keras.saving.load_model(os.environ["MODEL"], compile=False)
        self._call = tf.function(lambda rows: model(rows, training=False))

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=10_000)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Call the model."""
        return self._call(rows.astype("float32")).numpy()
