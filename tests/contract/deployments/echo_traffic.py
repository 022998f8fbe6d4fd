"""Traffic for the stand-in server, and a canary step of its own process for tests that kill it."""

from __future__ import annotations

from typing import Any

import numpy as np

from chandlery.canary.replay.sender import Traffic
from chandlery.recipe import Column
from tests.recipes import Answers


class Echo(Answers):
    """The truth is what was sent."""

    schema = (Column("x"), Column("truth"))
    target = "truth"

    def wrong(self, prediction: Any, truth: Any) -> bool:
        """Anything but an echo."""
        return bool(prediction != truth)


def load(*_: object) -> Traffic:
    """Return 100 rows whose truth is themselves, in place of `load_traffic`."""
    x = np.arange(100.0)
    return Traffic({"x": x}, x, Echo())


if __name__ == "__main__":
    from chandlery.canary import release
    from chandlery.canary.parameters import CanaryParameters

    parameters = CanaryParameters(
        "digits",
        "13",
        traffic_repo="traffic",
        replay_rate=200.0,
        deadline_seconds=60.0,
        look_seconds=0.5,
        minimum_requests=30,
        seed=1,
    )
    found = release.run_canary(parameters, load)
    print(f"VERDICT {found.verdict}: {found.reason}")
