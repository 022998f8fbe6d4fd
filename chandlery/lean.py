"""Import TensorFlow, kfp and Pachyderm's SDK without their optional parts: every process starts faster and smaller.

Keras imports pandas, scikit-learn and matplotlib when they are installed, for its wrappers and galleries, and does
without when they are not. Measured with TensorFlow 2.21 and Keras 3.15: 3.0 s instead of 5.8 s.

`import kfp` imports its client of a cluster, and with it Kubernetes' and Google's libraries, which a run on this machine has no
use for. Measured with kfp 2.17: 0.7 s of processor time and 37 MiB instead of 2.9 s and 112 MiB.

Pachyderm's SDK imports requests, when it is installed, for files that it would fetch from elsewhere by itself (CDR), and makes a
thousand classes, between which the collector of garbage finds nothing. Measured with pachyderm-sdk 2.12.2: 0.6 s of processor time
instead of 0.95 s.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import types

OPTIONAL = ("matplotlib", "pandas", "sklearn")


def load_tensorflow() -> None:
    """Import TensorFlow and Keras; in this process Keras' scikit-learn wrappers and galleries will be missing.

    For processes that are ours from start to end (steps, trials, model servers), never inside a user's session.
    Libraries that are loaded already, or are imported later, are not affected.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules or "keras" in sys.modules:
        return
    hidden = [name for name in OPTIONAL if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # what makes an import raise ModuleNotFoundError
    try:
        import tensorflow  # noqa: F401
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def load_kfp() -> None:
    """Import kfp; in this process `kfp.Client` will be missing, and `kfp.client` be empty but for its submodules.

    For the process that runs a package, never inside a user's session. A kfp that is loaded already is not affected.
    """
    if "kfp" in sys.modules:
        return
    spec = importlib.util.find_spec("kfp")
    if spec is None or not spec.submodule_search_locations:
        return  # the import reports it
    client = types.ModuleType("kfp.client")
    client.__path__ = [os.path.join(place, "client") for place in spec.submodule_search_locations]
    client.Client = None  # type: ignore[attr-defined]  # kfp/__init__.py asks for this name alone
    sys.modules["kfp.client"] = client
    import kfp  # noqa: F401


def load_pachyderm() -> None:
    """Import Pachyderm's SDK; in this process its resolver of CDRs (`client.storage`) will be off, as without requests.

    For processes that are ours from start to end, never inside a user's session. An SDK that is loaded already is not
    affected.
    """
    if "pachyderm_sdk" in sys.modules:
        return
    hidden = "requests" not in sys.modules
    if hidden:
        sys.modules["requests"] = None  # type: ignore[assignment]
    collects = gc.isenabled()
    gc.disable()
    try:
        import pachyderm_sdk  # noqa: F401
    finally:
        if collects:
            gc.enable()
        if hidden:
            sys.modules.pop("requests", None)
