"""The chaos test's plan: a failure can be played again only when the same seed gives the same rounds."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.plan import BYTES_LEFT, CUTS, PLATFORM, SYSTEMS, WORKS, plan


def test_the_same_seed_and_rounds_give_the_same_sequence() -> None:
    assert plan(1, 50) == plan(1, 50)
    assert plan(1, 50) != plan(2, 50)


@pytest.mark.parametrize("seed", range(5))
def test_200_rounds_hold_every_work_and_every_fault(seed: int) -> None:
    rounds = plan(seed, 200)
    assert [one.number for one in rounds] == list(range(1, 201))
    assert {one.work for one in rounds} == set(WORKS)
    assert Counter(one.work for one in rounds)["life"] == 10
    assert {one.fault for one in rounds} == {"kill", "disk", "cut"}
    for one in rounds:
        assert 0 < one.moment < 1
        if one.fault == "kill":
            assert one.target in (*PLATFORM, *WORKS[one.work][1])
        elif one.fault == "disk":
            assert int(one.target) in BYTES_LEFT
        else:
            system, manner = one.target.split(":")
            assert system in SYSTEMS[one.work]
            assert manner in CUTS


def test_a_short_run_has_one_whole_life() -> None:
    assert [one.work for one in plan(3, 20)].count("life") == 1
    assert [one.work for one in plan(3, 4)].count("life") == 1
