"""The limit of the model: `python -m benchmarks.in_process PACKAGE` calls it on batches, without any server.

Reads lines `<rows of a batch> <seconds>` and prints for each `[rows a second, p50 ms, p99 ms]`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path


def main(package: Path) -> None:
    """Measure as long as lines come."""
    from chandlery.lean import load_tensorflow

    load_tensorflow()
    import numpy as np

    from chandlery.model import LoadedModel

    model = LoadedModel(package)
    for line in sys.stdin:
        count, seconds = line.split()
        rows = {
            column.name: np.resize(np.arange(17, dtype=column.dtype), (int(count), *column.shape))
            for column in model.recipe.inputs()
        }
        latencies = []
        until = time.perf_counter() + float(seconds)
        while (began := time.perf_counter()) < until:
            model.answer(rows)
            latencies.append(time.perf_counter() - began)
        percentiles = statistics.quantiles(latencies, n=100)
        rate = int(count) * len(latencies) / sum(latencies)
        print(json.dumps([rate, percentiles[49] * 1e3, percentiles[98] * 1e3]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
