"""One epoch over a dataset that does not fit into memory, beside a hand-written tf.data pipeline on the same files.

Each contender is a process of its own, so that its peak memory is its own. All train the same model on 70 of 100 rows
and validate it on 15; ours chooses them by a hash of their content, the others by their place in the file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import LIMIT, OURS, PEER, Aim, Contender, Figure, Figures, Role, Row, Setting, plain

GIGABYTES, QUICK_GIGABYTES = 10.0, 0.2
WIDTH = 256  # float32 numbers of a row
ROWS_OF_FILE, ROWS_OF_GROUP = 250_000, 25_000
SECONDS = 3600.0
MEMORY_MIB = 2048.0

_RECIPE = '''
from chandlery.recipe import Column, Recipe


class Wide(Recipe):
    """A network on rows of numbers; the package reads the files."""

    task = "binary"
    classes = ("no", "yes")
    schema = (Column("x", "float32", (WIDTH,)), Column("y", "int64", allowed=(0, 1)))
    target = "y"
    objective = "accuracy"
    files = "*.parquet"
    defaults = {"epochs": 1, "batch_size": 512}

    def featurize(self, rows):
        return rows["x"]

    def build(self, parameters, features):
        return network()

    def metrics(self, truth, outputs):
        return {"accuracy": float(((outputs[:, 0] > 0.5) == truth).mean())}

    def answer(self, outputs):
        return {"y": (outputs[:, 0] > 0.5).astype("int64")}

    def wrong(self, prediction, truth):
        return prediction != truth
'''
_NETWORK = f"""
WIDTH = {WIDTH}


def network():
    import keras

    layers = keras.layers
    model = keras.Sequential([keras.Input((WIDTH,)), layers.Dense(128, "relu"), layers.Dense(64, "relu"), layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy", jit_compile=False)
    return model
"""
_OURS = """
from pathlib import Path
from chandlery.recipe import load_recipe
from chandlery.training.dataset import open_rows
from chandlery.training.fitting import fit
import keras

loaded = load_recipe("recipe.py:Wide")
began = time.monotonic()
result = fit(loaded, open_rows(loaded.recipe, Path(sys.argv[1])), {}, deterministic=False)
rows, objective = result.rows, result.metrics["accuracy"]
"""
_HAND = """
from pathlib import Path
import keras, numpy as np, pyarrow.parquet as pq, tensorflow as tf
from recipe import WIDTH, network

files = sorted(Path(sys.argv[1]).glob("*.parquet"))


def rows_of(first, last):
    number = 0
    for path in files:
        for batch in pq.ParquetFile(path).iter_batches(25_000):
            x, y = batch.column("x").flatten().to_numpy().reshape(-1, WIDTH), batch.column("y").to_numpy()
            place = (np.arange(number, number + len(y)) % 100)
            number += len(y)
            chosen = (place >= first) & (place < last)
            yield x[chosen], y[chosen]


signature = (tf.TensorSpec((None, WIDTH), tf.float32), tf.TensorSpec((None,), tf.int64))
read = lambda first, last: tf.data.Dataset.from_generator(lambda: rows_of(first, last), output_signature=signature)
model = network()
model.compile("adam", "binary_crossentropy", metrics=["accuracy"], jit_compile=False)
began = time.monotonic()
training = SHUFFLED.prefetch(tf.data.AUTOTUNE)
history = model.fit(training, epochs=1, verbose=0, validation_data=read(70, 85).prefetch(2))
rows, objective = None, history.history["val_accuracy"][0]
"""
_SHUFFLES = {
    "hand-written tf.data": "read(0, 70).unbatch().shuffle(65_536).batch(512, drop_remainder=True)",
    "tf.data that shuffles within a chunk": "read(0, 70).map(lambda x, y: (lambda o: (tf.gather(x, o), tf.gather(y, o)))"
    "(tf.random.shuffle(tf.range(tf.shape(y)[0])))).rebatch(512, drop_remainder=True)",
}
_TELL = """
import json, resource
seconds = time.monotonic() - began
print(json.dumps({"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "objective": objective}))
"""
_DATA = f"""
import sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq

folder, rows = Path(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(0)
weights = random.normal(size={WIDTH}).astype("float32")
for number, start in enumerate(range(0, rows, {ROWS_OF_FILE})):
    count = min({ROWS_OF_FILE}, rows - start)
    x = random.standard_normal((count, {WIDTH}), dtype="float32")
    y = (x @ weights + 4 * random.standard_normal(count) > 0).astype("int64")
    columns = {{"x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), {WIDTH}), "y": y}}
    path = folder / f"{{number:03}}.parquet"
    pq.write_table(pa.table(columns), path, row_group_size={ROWS_OF_GROUP}, compression="none", use_dictionary=False)
"""


def _contenders(setting: Setting) -> list[Contender]:
    gigabytes = QUICK_GIGABYTES if setting.quick else GIGABYTES
    rows = int(gigabytes * 1e9 / (4 * WIDTH))
    data = setting.scratch / "data"
    data.mkdir()
    subprocess.run([sys.executable, "-c", _DATA, str(data), str(rows)], check=True, timeout=SECONDS)
    (setting.scratch / "recipe.py").write_text(_NETWORK + _RECIPE, encoding="utf-8")

    def contender(name: str, role: Role, program: str) -> Contender:
        path = setting.scratch / f"train-by-{name.replace(' ', '-')}.py"
        path.write_text("import sys, time\n" + program + _TELL, encoding="utf-8")
        return Contender(name, role, plain(lambda: _run(path, data, gigabytes)))

    hand = [
        contender(name, LIMIT if "chunk" in name else PEER, _HAND.replace("SHUFFLED", shuffle))
        for name, shuffle in _SHUFFLES.items()
    ]
    return [contender("chandlery", OURS, _OURS), *hand]


def _run(program: Path, data: Path, gigabytes: float) -> Figures:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, program.name, str(data)],
        cwd=program.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{program.name}: code {done.returncode}: {done.stderr[-3000:]}")
    figures = json.loads(done.stdout.splitlines()[-1])
    return {
        "throughput": gigabytes * 1000 / figures["seconds"],
        "peak memory": figures["peak"],
        "accuracy": figures["objective"],
    }


ROWS = (
    Row(
        "large-data",
        f"one epoch and its validation over {GIGABYTES:g} GB of Parquet",
        _contenders,
        (
            Figure("throughput", "MB/s", more_is_better=True),
            Figure("peak memory", "MiB"),
            Figure("accuracy", "", more_is_better=True, ratio=False),
        ),
        (
            Aim("peak memory", at_most=MEMORY_MIB),
            Aim("throughput", at_least=0.8, against="hand-written tf.data"),
        ),
        notes="Without the start of Python and TensorFlow. Peak resident memory of the whole process.",
        warm_up=False,
    ),
)
