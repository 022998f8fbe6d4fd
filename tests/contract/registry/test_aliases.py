"""Promotion and rollback move aliases, once, and remember why."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from chandlery.errors import NotFoundError, UserError
from chandlery.registry import aliases, champion, resolve, version_info
from chandlery.registry.aliases import promote, record_canary, rollback
from chandlery.registry.client import call
from chandlery.registry.register import register
from chandlery.registry.versions import model_aliases

pytestmark = pytest.mark.slow


@pytest.fixture
def three(mlflow: str, submit: Any) -> str:
    """A registered model with versions 1, 2 and 3."""
    for content in "abc":
        register(submit(content))
    name: str = submit().name
    return name


def test_the_life_of_a_champion(three: str) -> None:
    assert champion(three) == ""
    first = promote(three, "1")
    assert (first.version, first.previous, first.changed) == ("1", "", True)
    second = promote(three, "2", "wrong rate halved")
    assert (second.version, second.previous, second.changed) == ("2", "1", True)
    assert model_aliases(three) == {"champion": "2", "previous_champion": "1", "challenger": "3"}
    back = rollback(three, reason="complaints")
    assert (back.version, back.previous, back.changed) == ("1", "2", True)
    assert champion(three) == "1"
    tags = version_info(three, "2").tags
    assert tags["chandlery.promoted_reason"] == "wrong rate halved"
    assert tags["chandlery.promoted_run"] == "run-1"
    assert tags["chandlery.promoted_by"] == "register-model"
    assert tags["chandlery.rolled_back_reason"] == "complaints"


def test_how_a_canary_ended_stays_with_the_version(three: str) -> None:
    record_canary(three, "2", "rolled_back", "ended early by anna@host: a complaint", "anna@host")
    tags = version_info(three, "2").tags
    assert tags["chandlery.canary_verdict"] == "rolled_back"
    assert tags["chandlery.canary_reason"] == "ended early by anna@host: a complaint"
    assert tags["chandlery.canary_by"] == "anna@host"
    record_canary(three, "2", "rolled_back", "ended early by anna@host: a complaint", "somebody else")
    assert version_info(three, "2").tags == tags
    record_canary(three, "1", "promoted", "2 times as many is ruled out")
    assert version_info(three, "1").tags["chandlery.canary_by"] == "register-model"


def test_doing_it_again_changes_nothing(three: str) -> None:
    promote(three, "1")
    promote(three, "2")
    assert promote(three, "2").changed is False
    assert model_aliases(three)["previous_champion"] == "1"
    assert rollback(three).changed is True
    assert rollback(three).changed is False
    assert champion(three) == "1"


def test_promoting_the_challenger_takes_the_alias_from_it(three: str) -> None:
    assert promote(three, "challenger").version == "3"
    assert "challenger" not in model_aliases(three)


def test_a_version_named_is_gone_back_to(three: str) -> None:
    for version in "123":
        promote(three, version)
    assert rollback(three, "1").previous == "3"
    assert champion(three) == "1"


MISSING: dict[str, tuple[Callable[[str], Any], str]] = {
    "promote a version": (lambda name: promote(name, "9"), "3, 2, 1"),
    "promote an alias": (lambda name: promote(name, "nobody"), "challenger -> 3"),
    "roll back to a version": (lambda name: rollback(name, "9"), "3, 2, 1"),
    "roll back without a previous champion": (lambda name: rollback(name), "3, 2, 1"),
    "an unknown model": (lambda name: promote(name + "-unknown", "1"), "none"),
    "version_info": (lambda name: version_info(name, "champion"), "challenger -> 3"),
    "resolve": (lambda name: resolve(f"models:/{name}@champion"), "challenger -> 3"),
}


def test_what_does_not_exist_is_named_with_what_does(three: str) -> None:
    before = model_aliases(three)
    for case, (act, says) in MISSING.items():
        with pytest.raises(NotFoundError) as caught:
            act(three)
        assert says in caught.value.hint, case
        assert isinstance(caught.value, UserError)
    assert model_aliases(three) == before


def test_resolve(three: str) -> None:
    promote(three, "2")
    assert resolve(f"models:/{three}@champion") == (three, "2")
    assert resolve(f"models:/{three}/3") == (three, "3")


def test_killed_at_every_moment_and_promoted_again(three: str, children: Any) -> None:
    promote(three, "1")
    promote(three, "3")
    for moment in range(20):
        rollback(three, "1")
        child = children.start(_promote_until, three, "2", moment)
        child.join(120)
        promote(three, "2")
        found = model_aliases(three)
        assert (found["champion"], found["previous_champion"]) == ("2", "1"), moment
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
    assert moment >= 4
    assert child.exitcode == 0


def _promote_until(name: str, version: str, moment: int) -> None:
    count = 0

    def fatal(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        nonlocal count
        result = call(function, *arguments, **named)
        count += 1
        if count > moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    aliases.call = fatal  # type: ignore[attr-defined]
    promote(name, version)
