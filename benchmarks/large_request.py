"""The limit of a large request: `python -m benchmarks.large_request FOLDER FORM` parses and calls, without a server.

Reads lines `<seconds>` and prints for each `[requests a second, p50 ms, p99 ms]`. FORM is `json`: the request is parsed each
time; or `raw`: the model alone is called.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import orjson


def main(folder: Path, form: str) -> None:
    """Measure as long as lines come."""
    from chandlery.lean import load_tensorflow

    load_tensorflow()
    import keras
    import numpy as np
    import tensorflow as tf

    model = keras.saving.load_model(folder / "mlflow" / "data" / "model.keras", compile=False)
    call = tf.function(lambda rows: model(rows, training=False))
    text = (folder / "request.json").read_bytes()

    def parse() -> np.ndarray:
        (tensor,) = orjson.loads(text)["inputs"]
        return np.array(tensor["data"], "float32").reshape(tensor["shape"])

    rows = parse()
    for line in sys.stdin:
        latencies = []
        until = time.perf_counter() + float(line)
        while (began := time.perf_counter()) < until:
            call(parse() if form == "json" else rows).numpy()
            latencies.append(time.perf_counter() - began)
        percentiles = statistics.quantiles(latencies, n=100)
        figures = [len(latencies) / sum(latencies), percentiles[49] * 1e3, percentiles[98] * 1e3]
        print(orjson.dumps(figures).decode(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
