"""Under constant load nothing that is done to a deployment costs a request: 0 failed, 0 dropped.

`CHANDLERY_TEST_LOAD=1000/20/20` sets the number of weight changes, rolling updates and rollbacks; the small gateway,
which is for one user, gets a tenth.
"""

from __future__ import annotations

import math
import os

import pytest

from chandlery.deployments.deploy import roll_back
from chandlery.deployments.deployment import apply, current, set_weights, wait_ready

from .conftest import Platform, counted, serving, until, variant
from .load import Load

# They start servers; 1,000 of anything take longer than a test usually may.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

WEIGHT_CHANGES, ROLLING_UPDATES, ROLLBACKS = map(
    int, os.environ.get("CHANDLERY_TEST_LOAD", "100/3/3").split("/")
)


def times(platform: Platform, number: int) -> range:
    """As often as it is asked for."""
    return range(number if platform.kind == "envoy" else math.ceil(number / 10))


def ready(platform: Platform, *variants: object, **changes: object) -> None:
    """Deploy and wait."""
    apply(platform.store, serving(*variants, **changes))  # type: ignore[arg-type]
    wait_ready(platform.store, "digits", "default", 60)


def assert_nothing_lost(platform: Platform, load: Load) -> None:
    """Every request of the load was answered well, and the gateway's count knows of each and of no other."""
    assert load.failed == []
    assert load.answered > 100
    until(lambda: counted(platform) == load.answered, f"all {load.answered} requests are counted", 10)
    print(f"{load.answered} requests, 0 failed; answered by {dict(sorted(load.routes.items()))}")


def test_weight_changes_lose_no_request(platform: Platform) -> None:
    ready(platform, variant("1", 50), variant("2", 50))
    seconds = []
    with Load(platform.url) as load:
        for i in times(platform, WEIGHT_CHANGES):
            weight = 1 + (i * 37) % 99
            seconds.append(
                set_weights(platform.store, "digits", "default", {"v1": weight, "v2": 100 - weight})
            )
    assert_nothing_lost(platform, load)
    seconds.sort()
    median = seconds[len(seconds) // 2]
    print(f"in force after {median:.3f} s (median), {seconds[-1]:.3f} s (longest)")
    assert median < 1.0


def test_rolling_updates_lose_no_request(platform: Platform) -> None:
    """One predictor, its only server replaced over and over; no update waits until the last one's old server is gone."""
    ready(platform, variant("1", 100))
    with Load(platform.url) as load:
        for number in times(platform, ROLLING_UPDATES):
            ready(platform, variant("1", 100, f"update={number}"))
        until(lambda: len(platform.servers()) == 1, "the old servers are stopped")
    assert_nothing_lost(platform, load)


def test_rollbacks_lose_no_request(platform: Platform) -> None:
    """A challenger comes, takes traffic, and is taken out again."""
    ready(platform, variant("1", 100))
    with Load(platform.url) as load:
        for number in times(platform, ROLLBACKS):
            challenger = f"v{number + 2}"
            ready(platform, variant("1", 60), variant(challenger[1:], 40))
            until(lambda who=challenger: load.routes[who] > 10, f"{challenger} answers")
            assert roll_back("digits", reason="test").version == "1"
            assert current(platform.store, "digits", "default") == serving(variant("1", 100))
        until(lambda: len(platform.servers()) == 1, "the challengers are stopped")
    assert_nothing_lost(platform, load)
