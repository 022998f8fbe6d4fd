"""What a server finds out about its machine and its model when it starts, and remembers beside the model."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from chandlery.files import write_json
from chandlery.frameworks.compiled import Times, machine
from chandlery.model import TENSORFLOW, LoadedModel
from chandlery.progress import report

REMEMBERED = "serving.json"  # in the package: what was measured, by machine
MOST_MACHINES = 16


def tune(loaded: LoadedModel, features: Any, largest: int, seconds: float) -> None:
    """Let a model of TensorFlow find the batch sizes at which a compiled form is faster, within a time limit.

    What was found is kept in the package, where that can be written, so that the next server on a machine of this kind
    compiles the winners and measures nothing.

    Args:
        loaded: the model.
        features: features of one row.
        largest: rows of the largest batch.
        seconds: time limit; 0: nothing is done.
    """
    if seconds <= 0 or loaded.runtime != TENSORFLOW or loaded.exact:
        return
    here, file = machine(), loaded.folder / REMEMBERED
    remembered = _read(file)
    known = remembered.get(here)
    times = loaded.tune(features, largest, seconds, known)
    if times is None:
        return
    report(
        "model.tuned", f"compiled for batches of {', '.join(times['compiled']) or 'no size'} rows", **times
    )
    if known is None:
        kept = dict([*remembered.items()][1 - MOST_MACHINES :]) | {here: times}
        with contextlib.suppress(OSError):  # a package that is mounted read-only
            write_json(file, kept)


def _read(file: Path) -> dict[str, Times]:
    """Return what earlier servers found; nothing where the file is not there or not ours."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(name): {
                kind: {str(int(size)): float(took) for size, took in times[kind].items()}
                for kind in ("traced", "compiled")
            }
            for name, times in found.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
