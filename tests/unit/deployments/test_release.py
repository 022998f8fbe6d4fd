"""What a release or a rollback makes of what serves: the right variants, and nothing when nothing is to be done."""

from __future__ import annotations

import pytest

from chandlery.deployments.release import back, release
from chandlery.deployments.spec import ServingSpec, Variant, to_seldon
from chandlery.errors import NotFoundError, UserError
from chandlery.provenance import Provenance


def variant(version: str, weight: int = 100) -> Variant:
    return Variant(version, f"models:/digits/{version}", weight)


def spec(*variants: Variant, **changes: object) -> ServingSpec:
    return ServingSpec("digits", "default", "digits", variants).with_(**changes)


ALONE = spec(variant("12"))
CANARY = spec(variant("12", 75), variant("13", 25), strategy="canary")
SHADOW = spec(variant("12"), strategy="shadow", shadow=variant("13"))


@pytest.mark.parametrize("strategy", ["replace", "canary", "ab", "shadow"])
def test_the_first_version_gets_everything_whatever_was_asked(strategy: str) -> None:
    done = release(ALONE, None, strategy)
    assert (done.spec, done.strategy, done.changed) == (ALONE, "replace", True)


@pytest.mark.parametrize("strategy", ["replace", "canary", "ab", "shadow"])
def test_a_version_that_serves_alone_is_left_alone(strategy: str) -> None:
    done = release(ALONE.with_(provenance=Provenance(run_id="another")), ALONE, strategy)
    assert (done.spec, done.changed) == (ALONE, False)
    assert "nothing to do" in done.reason


@pytest.mark.parametrize(
    ("strategy", "weight", "weights"),
    [
        ("canary", 0, {"v12": 95, "v13": 5}),
        ("canary", 20, {"v12": 80, "v13": 20}),
        ("ab", 0, {"v12": 50, "v13": 50}),
    ],
)
def test_a_challenger_comes_after_the_stable_version(
    strategy: str, weight: int, weights: dict[str, int]
) -> None:
    done = release(spec(variant("13"), provenance=Provenance(run_id="r")), ALONE, strategy, weight)
    assert done.spec.weights == weights
    assert list(done.spec.weights) == ["v12", "v13"]
    assert (done.strategy, done.changed, done.spec.provenance.run_id) == (strategy, True, "r")
    assert to_seldon(done.spec)


def test_a_challenger_does_not_change_how_the_stable_version_runs() -> None:
    stable = spec(variant("12"), protocol="v2", replicas=3, cpu="2")
    done = release(spec(variant("13")), stable, "canary")
    assert (done.spec.protocol, done.spec.replicas, done.spec.cpu) == ("v2", 3, "2")


def test_a_shadow_takes_no_traffic() -> None:
    done = release(spec(variant("13")), ALONE, "shadow", 10)
    assert done.spec.weights == {"v12": 100}
    assert done.spec.shadow == variant("13", 10)
    assert release(spec(variant("13")), done.spec, "shadow", 10).changed is False


def test_a_canary_on_its_way_is_not_set_back() -> None:
    done = release(spec(variant("13")), CANARY, "canary", 5)
    assert (done.spec, done.changed) == (CANARY, False)


def test_another_challenger_takes_the_place_of_the_first() -> None:
    done = release(spec(variant("14")), CANARY, "canary")
    assert done.spec.weights == {"v12": 95, "v14": 5}


def test_the_stable_version_is_no_challenger_to_itself() -> None:
    assert release(ALONE, CANARY, "canary").changed is False


def test_replace_ends_a_canary() -> None:
    done = release(spec(variant("13")), CANARY, "replace")
    assert (done.spec.weights, done.changed) == ({"v13": 100}, True)


@pytest.mark.parametrize(
    ("strategy", "weight"), [("blue", 0), ("canary", 100), ("canary", -1), ("shadow", 101), ("ab", 100)]
)
def test_what_cannot_be_is_refused(strategy: str, weight: int) -> None:
    with pytest.raises(UserError) as caught:
        release(spec(variant("13")), ALONE, strategy, weight)
    assert caught.value.hint


@pytest.mark.parametrize("now", [CANARY, SHADOW])
def test_rollback_takes_the_challenger_out(now: ServingSpec) -> None:
    done = back(now, "digits", None)
    assert (done.spec, done.changed) == (ALONE, True)
    assert "13" in done.reason
    assert back(done.spec, "digits", None).changed is False


def test_rollback_to_a_named_version() -> None:
    assert back(CANARY, "digits", variant("13", 25)).spec.weights == {"v13": 100}
    assert back(ALONE, "digits", variant("9")).spec.weights == {"v9": 100}
    assert back(ALONE, "digits", variant("12")).changed is False


def test_rollback_of_nothing() -> None:
    with pytest.raises(NotFoundError, match="nothing to roll back"):
        back(None, "default/digits", None)
