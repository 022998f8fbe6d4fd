"""A person ends a canary: the watcher acts, or the one who asks; where none runs it is refused and nothing changes."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from chandlery.canary import ending
from chandlery.canary.decision.early_end import EarlyEnd
from chandlery.canary.decision.policy import ReleasePolicy
from chandlery.canary.ending import end_early
from chandlery.canary.parameters import CanaryParameters
from chandlery.canary.watch.watcher import Canary
from chandlery.deployments.spec import Variant
from chandlery.errors import ChandleryError, ConflictError, DeadlineError, ServingError, UserError
from chandlery.processes import holder_text
from tests.unit.canary.fakes import FakeSide, Killed, Rates, Waits

RATES = {"v1": Rates(wrong=0.05), "v2": Rates(wrong=0.05)}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> FakeSide:
    """A deployment with a canary of run-1 under way, whose process was killed."""
    world = FakeSide(rates=RATES, split={"v1": 95, "v2": 5}, requests_per_look=20, kill_after=60)

    def write(store: Any, name: str, namespace: str, request: EarlyEnd) -> None:
        world.asked = request.to_json()

    variants = (Variant("1", "models:/Digits One/1", 95), Variant("2", "models:/Digits One/2", 5))
    monkeypatch.setattr(ending.platform, "open_resources", lambda: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(
        ending, "spec_of", lambda *_: SimpleNamespace(variants=variants, model_name="digits-one")
    )
    monkeypatch.setattr(ending, "DeploymentSide", lambda *_, **__: world)
    monkeypatch.setattr(ending, "_write", write)
    monkeypatch.setattr(ending, "_TICK", 0.01)
    with pytest.raises(Killed):
        Canary(
            world,
            ReleasePolicy(deadline_seconds=120.0),
            run="run-1",
            stop=Waits(world),
            clock=world.clock,
            report=lambda *_, **__: None,
        ).watch("v2")
    world.text = world.state.with_(holder="", heartbeat=0.0).to_json()
    world.kill_after = -1
    return world


def end(decision: str = "promote", reason: str = "seen enough", **more: Any) -> ending.Ended:
    return end_early("digits", "default", decision, reason, **{"by": "anna", **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("decision", "serving"), [("promote", "v2"), ("rollback", "v1")], ids=["promote", "rollback"]
)
def test_without_a_watcher_it_is_ended_here_and_once(world: FakeSide, decision: str, serving: str) -> None:
    ended = end(decision)
    assert (ended.serving, ended.changed, ended.model_name) == (serving, True, "Digits One")
    assert world.split == {serving: 100}
    assert ended.state.reason.startswith("ended early by anna: seen enough (after ")
    acts, text = list(world.acts), world.text
    again = end(decision, "asked twice")
    assert (again.serving, again.changed, again.state.reason) == (serving, False, ended.state.reason)
    assert (world.acts, world.text) == (acts, text)


def test_a_watcher_that_lives_acts_itself(world: FakeSide) -> None:
    world.text = world.state.with_(holder=holder_text(), heartbeat=time.time()).to_json()

    def watcher() -> None:
        while not world.asked:
            time.sleep(0.01)
        request = EarlyEnd.from_json(world.asked)
        assert request is not None
        assert (request.person, request.run, request.challenger) == ("anna", "run-1", "v2")
        state = world.state.with_(verdict="promoted", reason="ended early", ended_by="anna", phase="finished")
        world.text = state.to_json()

    thread = threading.Thread(target=watcher)
    thread.start()
    ended = end()
    thread.join()
    assert (ended.serving, ended.changed) == ("v2", True)
    assert world.acts[-1].startswith("shift"), "not moved from here"


def test_a_watcher_that_does_not_act_is_named_and_the_request_stays(world: FakeSide) -> None:
    world.text = (
        world.state.with_(holder=holder_text(), heartbeat=time.time())
        .with_(policy=ReleasePolicy(look_seconds=0.01))
        .to_json()
    )
    with pytest.raises(DeadlineError) as caught:
        end(wait=0.05)
    assert "did not act within" in caught.value.message
    assert "the request stays" in caught.value.hint
    assert world.asked


def test_a_watcher_that_dies_meanwhile_is_succeeded(world: FakeSide) -> None:
    alive = world.state.with_(holder=holder_text(), heartbeat=time.time())
    world.text = alive.to_json()
    timer = threading.Timer(0.1, lambda: setattr(world, "text", alive.with_(heartbeat=0.0).to_json()))
    timer.start()
    assert end("rollback").serving == "v1"
    assert world.split == {"v1": 100}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no canary is running on default/digits"),
        ("finished", "no canary is running on default/digits; the last one: v2 rolled back"),
    ],
)
def test_where_no_canary_runs_it_is_refused(world: FakeSide, text: str, says: str) -> None:
    finished = world.state.with_(phase="finished", verdict="rolled_back", reason="slow")
    world.text = finished.to_json() if text else ""
    before = (world.text, list(world.acts), dict(world.split))
    with pytest.raises(UserError) as caught:
        end("rollback")
    assert (caught.value.message, caught.value.exit_code) == (says, 2)
    assert "`chandlery status`" in caught.value.hint
    assert (world.text, world.acts, world.split, world.asked) == (*before, "")


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"reason": " "}, UserError, "needs a reason"),
        ({"reason": "x" * 1001}, UserError, "1001 characters"),
        ({"reason": "two\nlines"}, UserError, "one line"),
        ({"reason": "\x1b[31m"}, UserError, "not shown"),
        ({"decision": "explode"}, UserError, "valid: promote, rollback"),
        ({"version": "3"}, UserError, "is of v2, not of version 3"),
    ],
)
def test_bad_requests_are_refused_and_change_nothing(
    world: FakeSide, change: dict[str, str], error: type[ChandleryError], says: str
) -> None:
    before = (world.text, list(world.acts))
    with pytest.raises(error) as caught:
        end(**change)
    assert says in str(caught.value)
    assert (world.text, world.acts, world.asked) == (*before, "")


def test_a_challenger_that_is_not_ready_is_not_promoted(world: FakeSide) -> None:
    world.sick = {"v2": ("unready", "still loading")}
    with pytest.raises(ServingError, match="v2 is not ready: still loading"):
        end("promote")
    assert world.asked == ""
    assert end("rollback").serving == "v1"


def test_one_that_ends_otherwise_already_is_left_to_end(world: FakeSide) -> None:
    world.text = world.state.with_(phase="finishing", verdict="rolled_back", reason="wrong answers").to_json()
    with pytest.raises(ConflictError, match="ending already: rolled back: wrong answers"):
        end("promote")
    assert world.asked == ""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"decision": "explode"}, "valid: auto, promote, rollback"),
        ({"decision": "promote"}, "needs a reason"),
        ({"decision_reason": "because"}, "set decision to promote or rollback"),
    ],
)
def test_the_component_refuses_half_a_decision(given: dict[str, str], says: str) -> None:
    with pytest.raises(UserError) as caught:
        CanaryParameters("digits", "2", **given).early_end()  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert CanaryParameters("digits", "2").early_end() is None


def test_the_component_ends_it_and_reports(
    world: FakeSide, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from chandlery.canary.release import run_canary

    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    monkeypatch.setenv("CHANDLERY_RUN_ID", "run-9")
    parameters = CanaryParameters("digits", "2", decision="rollback", decision_reason="a complaint")
    released = run_canary(parameters, lambda version: pytest.fail("nothing is replayed"))
    assert (released.verdict, released.serving_version, released.released) == ("rolled_back", "1", False)
    assert released.ended_by == "run run-9"
    assert "ended early by run run-9: a complaint" in released.page.html()
