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
ATTEMPT = ".serving.attempt"  # in the package while a model is compiled: a byte for each attempt under way or cut short
MOST_ATTEMPTS = 4  # a server that is killed in one has others
MOST_MACHINES = 16


def tune(loaded: LoadedModel, features: Any, largest: int, seconds: float) -> None:
    """Let a model of TensorFlow find the batch sizes at which a compiled form is faster, within a time limit.

    What was found is kept in the package, so that the next server on a machine of this kind compiles the winners and
    measures nothing. A package that cannot be written is served as it is traced. XLA can end the process at a model that it
    does not know: an attempt is noted in the package first, and after a few that did not come back none is made.

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
    attempt = loaded.folder / ATTEMPT
    try:
        if attempt.exists() and attempt.stat().st_size >= MOST_ATTEMPTS:
            report("model.not_tuned", f"not compiled: earlier attempts did not come back ({attempt})")
            return
        with attempt.open("ab") as out:
            out.write(b".")
    except OSError:
        return  # mounted read-only: an attempt that ended the process would end it again and again
    times = loaded.tune(features, largest, seconds, known)
    if times is None:
        return
    report(
        "model.tuned", f"compiled for batches of {', '.join(times['compiled']) or 'no size'} rows", **times
    )
    with contextlib.suppress(OSError):
        attempt.unlink()
    if known is None:
        kept = dict([*remembered.items()][1 - MOST_MACHINES :]) | {here: times}
        with contextlib.suppress(OSError):
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
