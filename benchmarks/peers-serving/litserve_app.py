"""LitServe around a Keras model, with its batching on: `python litserve_app.py MODEL PORT`."""

import sys

import litserve
import numpy as np


class Api(litserve.LitAPI):
    """One row a request; LitServe puts up to 32 of them into one call."""

    def setup(self, device):
        """Load the model."""
        import keras
        import tensorflow as tf

        model = keras.saving.load_model(sys.argv[1], compile=False)
        self._call = tf.function(lambda rows: model(rows, training=False))

    def decode_request(self, request):
        """Return the row."""
        return np.asarray(request["rows"], "float32")[0]

    def batch(self, inputs):
        """Return the rows of several requests as one array."""
        return np.stack(inputs)

    def predict(self, rows):
        """Call the model."""
        return self._call(rows).numpy()

    def unbatch(self, output):
        """Return an answer for each request."""
        return list(output)

    def encode_response(self, output):
        """Return the answer as JSON."""
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=32, batch_timeout=0.001), accelerator="cpu", workers_per_device=1
    )
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
