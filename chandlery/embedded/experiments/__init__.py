"""Katib on a laptop: a level-triggered controller over the Experiments of the embedded resource store."""

from __future__ import annotations

import threading


def run_controller(stop: threading.Event) -> None:
    """Reconcile Experiments until `stop` is set; running trials are then ended, and run again next time.

    Raises:
        PlatformError: the resources endpoint is not an embedded store, or the home folder cannot be used.
    """
    from chandlery.embedded.experiments.controller import run

    run(stop)


__all__ = ["run_controller"]
