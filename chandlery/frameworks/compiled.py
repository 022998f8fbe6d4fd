"""XLA forms of a traced Keras model: compiled for a few batch sizes, used where they were measured to be faster."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from chandlery.arrays import padded, pick
from chandlery.frameworks.arrays import TOLERANCE, difference
from chandlery.frameworks.calls import as_arrays, given, plain_call, shortest

MARGIN = 0.9  # a compiled form is used when it takes less than this part of the traced one's time
MEASURED_SECONDS = 0.03
Times = dict[str, dict[str, float]]  # "traced" and "compiled": seconds of a call by number of rows


class Compiled:
    """The compiled forms of one model.

    Args:
        function: the traced function with an open batch dimension.
        specs: the `tf.TensorSpec` of its argument, or several by name.
        traced: predicts without compiled forms: features to outputs, as arrays.
    """

    def __init__(self, function: Any, specs: Any, traced: Callable[[Any], Any]) -> None:
        import tensorflow as tf

        self._tensor = tf.constant
        self._function = tf.function(lambda features: function(features), jit_compile=True, autograph=False)
        self._of = function
        self._specs = specs
        self._traced = traced
        self._calls: dict[int, Callable[[Any], Any]] = {}
        self._size_for: tuple[int, ...] = ()  # by number of rows: the compiled size to use; 0: none

    def tune(self, row: Any, largest: int, seconds: float, known: Times | None = None) -> Times:
        """Compile and measure for batches of 1, 2, 4, ... rows, the most useful first, until time is up.

        Args:
            row: features of one row.
            largest: rows of the largest batch.
            seconds: time limit; a compilation that is under way is finished.
            known: what `tune` returned in an earlier process on a machine of this kind: nothing is measured then.

        Returns:
            what was measured; `compiled` holds those sizes alone that are used.
        """
        until = time.perf_counter() + seconds
        if self._holds_texts():
            return {"traced": {}, "compiled": {}}
        times: Times = known or {"traced": {}, "compiled": {}}
        won: dict[int, float] = {}
        for size in _order(largest):
            if time.perf_counter() > until or (known and str(size) not in known["compiled"]):
                continue
            batch = pick(row, [0] * size)
            try:
                call = self._compile(batch)
                compiled = self._predict(call, batch, size, size)
                expected = self._traced(batch)
            except Exception:
                break  # XLA cannot compile every model: texts, and some operations
            if known:
                won[size] = known["compiled"][str(size)]
                self._calls[size] = call
                continue
            traced_seconds = shortest(partial(self._traced, batch), MEASURED_SECONDS)
            times["traced"][str(size)] = traced_seconds
            if difference(compiled, expected) > TOLERANCE:
                break
            took = shortest(partial(self._predict, call, batch, size, size), MEASURED_SECONDS)
            if took < MARGIN * traced_seconds:
                won[size] = took
                self._calls[size] = call
                times["compiled"][str(size)] = took
            elif size == largest and not won:
                break
        traced = {int(size): took for size, took in times["traced"].items()}
        self._size_for = tuple(_best(rows, won, traced) for rows in range(largest + 1)) if won else ()
        return times

    def _holds_texts(self) -> bool:
        """Return whether the model computes with texts: XLA ends the whole process at some of them."""
        import tensorflow as tf

        def named(attributes: Any) -> bool:
            return any(
                tf.string.as_datatype_enum in (value.type, *value.list.type) for value in attributes.values()
            )

        for trace in self._of.concrete_functions:
            graph = trace.graph.as_graph_def()
            nodes = (*graph.node, *(node for found in graph.library.function for node in found.node_def))
            if any(named(node.attr) for node in nodes):
                return True
        return False

    def size(self, rows: int) -> int:
        """Return the batch size whose compiled form to use for a number of rows; 0: none."""
        return self._size_for[rows] if rows < len(self._size_for) else 0

    def predict(self, features: Any, rows: int, size: int) -> Any:
        """Return the outputs of `rows` rows of features by the form of `size` rows."""
        return self._predict(self._calls[size], features, rows, size)

    def _compile(self, batch: Any) -> Callable[[Any], Any]:
        return plain_call(self._function.get_concrete_function(given(self._tensor, batch, self._specs)))

    def _predict(self, call: Callable[[Any], Any], features: Any, rows: int, size: int) -> Any:
        outputs = as_arrays(call(given(self._tensor, padded(features, size), self._specs)))
        return pick(outputs, slice(0, rows))


def machine() -> str:
    """Return what measured times depend on: processor, cores and TensorFlow's version."""
    import tensorflow as tf

    return f"{processor()}; {os.cpu_count()} cores; TensorFlow {tf.__version__}"


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _order(largest: int) -> Iterator[int]:
    """Yield 1, the largest, and the sizes between them, each time those that halve the widest gap."""
    sizes = [1]
    while sizes[-1] * 2 < largest:
        sizes.append(sizes[-1] * 2)
    if largest > 1:
        sizes.append(largest)
    pending = [(0, len(sizes) - 1)]
    yield sizes[0]
    if len(sizes) > 1:
        yield sizes[-1]
    while pending:
        low, high = pending.pop(0)
        middle = (low + high) // 2
        if low < middle < high:
            yield sizes[middle]
            pending += [(low, middle), (middle, high)]


def _best(rows: int, won: Mapping[int, float], traced: Mapping[int, float]) -> int:
    fitting = [size for size in won if size >= rows]
    below = [size for size in traced if size <= rows]
    if not rows or not fitting or not below:
        return 0
    size = min(fitting)
    # The traced form takes at least as long as it does for fewer rows.
    return size if size == rows or won[size] < traced[max(below)] else 0
