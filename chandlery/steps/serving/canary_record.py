"""How a canary ended, kept with the model version for lineage."""

from __future__ import annotations

from chandlery import addresses, progress
from chandlery.errors import ChandleryError
from chandlery.registry.aliases import record_canary as record


def record_canary(model_name: str, version: str, verdict: str, reason: str, person: str = "") -> None:
    """Keep a verdict with the version, where there is a registry; see `chandlery.registry.aliases.record_canary`.

    The traffic is decided already, so a registry that does not answer is reported and ends nothing.
    """
    if not addresses.endpoints().mlflow:
        return
    try:
        record(model_name, version, verdict, reason, person)
    except ChandleryError as error:
        progress.report(
            "canary.unrecorded",
            f"canary: the verdict is not kept with {model_name}/{version}: {error.message}",
        )
