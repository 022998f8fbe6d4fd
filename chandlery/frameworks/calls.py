"""How a traced function of TensorFlow is called, and how long a call takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any


def plain_call(trace: Any) -> Callable[[Any], Any]:
    """Return a trace with one argument as a plain call.

    Called itself, a function searches for the trace that fits and binds the arguments anew each time, which takes longer
    than a small network does. The shortcut is TensorFlow's own and private; without it all works, more slowly. It is for
    one tensor in and one out.
    """
    flat, captured = getattr(trace, "_call_flat", None), trace.captured_inputs
    several = isinstance(trace.structured_input_signature[0][0], Mapping) or isinstance(
        trace.structured_outputs, Mapping
    )
    if flat is None or several:
        call: Callable[[Any], Any] = trace
        return call
    return lambda features: flat([features], captured)


def given(tensor: Callable[..., Any], features: Any, specs: Any) -> Any:
    """Return features, one array or several by name, as tensors of the types that a function takes.

    Args:
        tensor: `tf.constant`.
        features: arrays.
        specs: the `tf.TensorSpec` of the function's argument, or several by name.
    """
    if isinstance(specs, Mapping):
        return {name: tensor(features[name], dtype=spec.dtype) for name, spec in specs.items()}
    return tensor(features, dtype=specs.dtype)


def as_arrays(outputs: Any) -> Any:
    """Return tensors, one or several by name, as arrays."""
    if isinstance(outputs, Mapping):
        return {name: output.numpy() for name, output in outputs.items()}
    return outputs.numpy()


def shortest(call: Callable[[], Any], seconds: float) -> float:
    """Return the shortest time of a call, in seconds: it is called once to warm up, and then for `seconds`."""
    call()
    until, least = time.perf_counter() + seconds, float("inf")
    while (began := time.perf_counter()) < until or least == float("inf"):
        call()
        least = min(least, time.perf_counter() - began)
    return least
