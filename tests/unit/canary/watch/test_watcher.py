"""The loop: walks, decides, acts, is killed at any call and goes on, and never gives up the champion without proof."""

import itertools
import math
import time

import pytest

from chandlery.canary.decision.early_end import EarlyEnd
from chandlery.canary.decision.policy import ReleasePolicy
from chandlery.canary.watch import lease
from chandlery.canary.watch.watcher import Canary, Watched
from chandlery.errors import ChandleryError, ConflictError, NotFoundError, PlatformError, UserError
from chandlery.processes import holder_text
from tests.unit.canary.fakes import FakeSide, Killed, Rates, Waits

POLICY = ReleasePolicy(deadline_seconds=120.0)
BETTER = {"v1": Rates(wrong=0.09), "v2": Rates(wrong=0.03)}
WORSE = {"v1": Rates(wrong=0.09), "v2": Rates(wrong=0.30)}


def side(rates: dict[str, Rates], **changes: object) -> FakeSide:
    return FakeSide(rates=rates, split={"v1": 95, "v2": 5}, **changes)  # type: ignore[arg-type]


def canary(world: FakeSide, policy: ReleasePolicy = POLICY, run: str = "run-1", **more: object) -> Canary:
    return Canary(
        world,
        policy,
        run=run,
        stop=Waits(world),
        clock=world.clock,
        **{"report": lambda *_, **__: None, **more},
    )  # type: ignore[arg-type]


def watch(world: FakeSide, policy: ReleasePolicy = POLICY, run: str = "run-1") -> Watched:
    return canary(world, policy, run).watch("v2")


def test_a_better_challenger_is_promoted_and_the_old_predictor_removed() -> None:
    world = side(BETTER)
    outcome = watch(world)
    assert (outcome.verdict, outcome.serving, outcome.released) == ("promoted", "v2", True)
    assert world.split == {"v2": 100}
    assert world.acts == ["shift v1=95 v2=5", "shift v1=75 v2=25", "shift v1=50 v2=50", "remove v1"]
    assert world.state.phase == "finished"
    assert world.now < 60  # seconds at 200 requests/s


def test_a_worse_challenger_is_removed_soon() -> None:
    world = side(WORSE)
    outcome = watch(world)
    assert (outcome.verdict, outcome.serving, outcome.released) == ("rolled_back", "v1", False)
    assert world.split == {"v1": 100}
    assert world.acts[-1] == "remove v2"
    assert world.now < 25


def test_a_canary_without_traffic_is_inconclusive_and_leaves_the_champion() -> None:
    world = side(BETTER, requests_per_look=0)
    outcome = watch(world)
    assert (outcome.verdict, outcome.serving) == ("inconclusive", "v1")
    assert world.split == {"v1": 100}
    assert "no feedback arrived" in outcome.reason


def test_a_split_otherwise_than_told_is_inconclusive() -> None:
    world = side(BETTER, true_share=0.15)
    outcome = watch(world)
    assert outcome.verdict == "inconclusive"
    assert "sample ratio" in outcome.reason


def test_a_crashed_challenger_is_removed_at_once_whatever_the_counts() -> None:
    world = side(BETTER, sick={"v2": ("failed", "v2: MemoryError")})
    outcome = watch(world)
    assert (outcome.verdict, outcome.reason) == ("rolled_back", "v2 failed: v2: MemoryError")
    assert world.now <= 2


def test_the_version_that_already_serves_alone_is_nothing_to_do_and_nothing_is_touched() -> None:
    world = FakeSide(rates=BETTER, split={"v2": 100})
    outcome = watch(world)
    assert (outcome.verdict, outcome.serving, outcome.released) == ("nothing_to_do", "v2", True)
    assert (world.acts, world.text) == ([], "")


@pytest.mark.parametrize(
    ("split", "error", "says"),
    [
        ({}, NotFoundError, "no such deployment"),
        ({"v1": 100}, UserError, "no predictor v2, only v1"),
        ({"v2": 95, "v3": 5}, UserError, "champion first"),
        ({"v1": 50, "v2": 25, "v3": 25}, UserError, "two predictors"),
    ],
)
def test_what_is_no_canary_is_refused_and_left_alone(split: dict, error: type, says: str) -> None:
    world = FakeSide(rates={}, split=split)
    with pytest.raises(error) as caught:
        watch(world)
    assert says in str(caught.value)
    assert (world.split, world.acts, world.text) == (split, [], "")


@pytest.mark.parametrize("rates", [BETTER, WORSE], ids=["better", "worse"])
def test_killed_at_any_call_it_goes_on_to_the_same_end(rates: dict[str, Rates]) -> None:
    """Killed after every number of calls in turn, then killed again and again: one verdict, one clean deployment."""
    expected = "promoted" if rates is BETTER else "rolled_back"
    for calls in itertools.count(1, 3):
        world = side(rates, kill_after=calls, requests_per_look=400)
        deaths = 0
        while True:
            try:
                # A process that was killed does not look alive: each life has a name of its own.
                outcome = canary(world).watch("v2")
                break
            except Killed:
                deaths += 1
                world.kill_after = calls + 7
                if world.text:
                    world.text = world.state.with_(holder="gone/1/0.00", heartbeat=0.0).to_json()
            assert deaths < 200
        assert outcome.verdict == expected
        assert list(world.split.values()) == [100]
        assert world.state.phase == "finished"
        for epoch in outcome.state.epochs:  # type: ignore[union-attr]
            total = epoch.champion.requests + epoch.challenger.requests
            deviation = abs(epoch.challenger.requests - total * epoch.share)
            assert deviation <= 4.5 * math.sqrt(max(total, 1) * epoch.share * (1 - epoch.share)), epoch
        if not deaths:
            return


def test_the_same_epochs_and_baselines_after_a_kill() -> None:
    world = side({"v1": Rates(wrong=0.05), "v2": Rates(wrong=0.05)}, kill_after=90, requests_per_look=50)
    with pytest.raises(Killed):
        watch(world)
    before = world.state
    world.text = before.with_(holder="gone/1/0.00", heartbeat=0.0).to_json()
    world.kill_after = 20
    with pytest.raises(Killed):
        watch(world)
    after = world.state
    assert [e.weight for e in after.epochs][: len(before.epochs)] == [e.weight for e in before.epochs]
    assert [e.opened for e in after.epochs][: len(before.epochs)] == [e.opened for e in before.epochs]
    assert after.elapsed >= before.elapsed
    assert after.epochs[0].champion.requests >= before.epochs[0].champion.requests


def test_time_without_a_watcher_does_not_count_towards_the_deadline() -> None:
    world = side(BETTER, kill_after=30)
    with pytest.raises(Killed):
        watch(world)
    world.text = world.state.with_(holder="gone/1/0.00", heartbeat=0.0).to_json()
    world.kill_after = -1
    world.now += 10_000
    assert watch(world).verdict == "promoted"


def test_a_finished_canary_is_told_again_to_its_own_run_and_enforced() -> None:
    """The run was killed after the rollback; its deploy step then put the challenger back."""
    world = side(WORSE)
    first = watch(world)
    world.split = {"v1": 95, "v2": 5}
    again = watch(world)
    assert (again.verdict, again.reason) == (first.verdict, first.reason)
    assert world.split == {"v1": 100}
    promoted = side(BETTER)
    watch(promoted)
    assert watch(promoted).verdict == "promoted"
    assert promoted.split == {"v2": 100}


def test_another_run_begins_anew() -> None:
    world = side(WORSE)
    watch(world)
    world.split = {"v1": 95, "v2": 5}
    world.rates = BETTER
    outcome = watch(world, run="run-2")
    assert outcome.verdict == "promoted"
    assert watch(world, run="run-3").verdict == "nothing_to_do"


def test_without_run_ids_a_finished_canary_is_history() -> None:
    world = side(BETTER)
    assert watch(world, run="").verdict == "promoted"
    assert watch(world, run="").verdict == "nothing_to_do"


def test_a_weight_changed_by_somebody_else_opens_a_new_epoch() -> None:
    world = side({"v1": Rates(wrong=0.05), "v2": Rates(wrong=0.05)}, requests_per_look=20)
    watched = canary(world, ReleasePolicy(deadline_seconds=30.0))
    original = world.weights
    calls = itertools.count()

    def meddled() -> dict[str, int] | None:
        if next(calls) == 6:
            world.split = {"v1": 40, "v2": 60}
        return original()

    world.weights = meddled  # type: ignore[method-assign]
    outcome = watched.watch("v2")
    assert "sample ratio" not in outcome.reason
    assert [epoch.weight for epoch in outcome.state.epochs][:2] == [5, 5]  # type: ignore[union-attr]


def test_a_challenger_taken_out_by_somebody_else_is_a_rollback() -> None:
    world = side(BETTER)
    original = world.weights
    calls = itertools.count()

    def meddled() -> dict[str, int] | None:
        if next(calls) == 4:
            world.split = {"v1": 100}
        return original()

    world.weights = meddled  # type: ignore[method-assign]
    outcome = watch(world)
    assert (outcome.verdict, outcome.serving) == ("rolled_back", "v1")
    assert "another process" in outcome.reason


def test_a_champion_taken_out_by_somebody_else_is_an_error_and_the_challenger_stays() -> None:
    world = side(BETTER)
    original = world.weights
    calls = itertools.count()

    def meddled() -> dict[str, int] | None:
        if next(calls) == 4:
            world.split = {"v2": 100}
        return original()

    world.weights = meddled  # type: ignore[method-assign]
    with pytest.raises(ConflictError):
        watch(world)
    assert world.split == {"v2": 100}


def test_counters_that_are_away_for_a_while_are_waited_for() -> None:
    assert watch(side(BETTER, blind_looks=10)).verdict == "promoted"
    with pytest.raises(PlatformError) as caught:
        watch(side(BETTER, blind_looks=10_000))
    assert "no counters for 60 s" in caught.value.message


def test_told_to_stop_it_leaves_a_canary_that_can_be_continued() -> None:
    world = side(BETTER)
    stop = Waits(world)
    looks = itertools.count()

    def report(event: str, *_: object, **__: object) -> None:
        if event == "canary.evidence" and next(looks) == 3:
            stop.set()

    watched = Canary(world, POLICY, run="run-1", stop=stop, clock=world.clock, report=report)
    with pytest.raises(ChandleryError) as caught:
        watched.watch("v2")
    assert "run the same again" in caught.value.hint
    assert world.state.phase in ("observing", "shifting")
    assert world.state.holder == ""
    assert watch(world).verdict == "promoted"


def test_two_watchers_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    world = side(BETTER, kill_after=20)
    with pytest.raises(Killed):
        watch(world)
    world.kill_after = -1
    world.text = world.state.with_(holder="otherhost/7/1.00", heartbeat=time.time()).to_json()

    class Waiting(Waits):
        def wait(self, timeout: float | None = None) -> bool:
            world.now += timeout or 0
            return False

    watched = Canary(
        world, POLICY, run="run-1", stop=Waiting(world), clock=world.clock, report=lambda *_, **__: None
    )
    text = world.text
    with pytest.raises(ConflictError) as caught:
        watched.watch("v2")
    assert "otherhost/7" in caught.value.message
    assert world.text == text
    # ... and one that has fallen silent is succeeded.
    world.text = world.state.with_(heartbeat=time.time() - lease.LEASE_SECONDS - 1).to_json()
    assert watch(world).verdict == "promoted"


def test_a_dead_holder_on_this_machine_is_succeeded_at_once() -> None:
    world = side(BETTER, kill_after=20)
    with pytest.raises(Killed):
        watch(world)
    state = world.state.with_(heartbeat=time.time())
    assert state.holder == holder_text()
    assert lease.is_alive(state)
    host = state.holder.split("/")[0]
    assert not lease.is_alive(state.with_(holder=f"{host}/{2**22 + 1}/1.00"))
    assert not lease.is_alive(state.with_(holder=""))
    assert lease.is_alive(state.with_(holder="elsewhere/1/1.00"))


def test_progress_tells_the_evidence_in_numbers() -> None:
    events: list[tuple[str, dict]] = []
    world = side(BETTER)
    watched = Canary(
        world,
        POLICY,
        run="run-1",
        stop=Waits(world),
        clock=world.clock,
        report=lambda event, message, **fields: events.append((event, {"message": message, **fields})),
    )
    watched.watch("v2")
    names = [name for name, _ in events]
    assert names.count("canary.stage") == 3
    assert names[-1] == "canary.verdict"
    evidence = next(fields for name, fields in reversed(events) if name == "canary.evidence")
    assert evidence["e_promote"] >= evidence["promote_threshold"] == pytest.approx(20)
    assert set(evidence["e_rollback"]) == {"wrong", "errors", "slow", "refused"}
    assert set(evidence["requests"]) == {"v1", "v2"}
    assert evidence["wrong"]["v1"] > 0


def reported(world: FakeSide, policy: ReleasePolicy = POLICY, **more: object) -> list[tuple[float, str, str]]:
    events: list[tuple[float, str, str]] = []
    canary(
        world, policy, report=lambda event, message, **_: events.append((world.now, event, message)), **more
    ).watch("v2")
    return events


HELP = {"get_traffic": "send some", "get_feedback": "send the truth"}


def test_an_hour_without_news_is_a_dozen_lines() -> None:
    events = reported(side(BETTER, requests_per_look=0), ReleasePolicy(deadline_seconds=3600.0), **HELP)
    told = [(at, message) for at, event, message in events if event == "canary.evidence"]
    assert len(told) <= 14
    assert told[0][0] <= 2
    assert "(unchanged for 320 s)" in told[6][1]
    assert told[-1][0] == pytest.approx(3600, abs=2), "the end is told when it comes"


def test_requests_without_feedback_are_no_news() -> None:
    """0 of 50 judged answers, second after second."""
    world = side({"v1": Rates(), "v2": Rates()}, judged_share=0.0, requests_per_look=40)
    events = reported(world, ReleasePolicy(deadline_seconds=3600.0), **HELP)
    assert len([event for _, event, _ in events if event == "canary.evidence"]) <= 20


def test_after_silence_news_are_told_at_once() -> None:
    world = side(BETTER, requests_per_look=0)
    waiting = world.pass_time

    def pass_time() -> None:
        world.requests_per_look = 0 if world.now < 500 else 200
        waiting()

    world.pass_time = pass_time  # type: ignore[method-assign]
    events = reported(world, ReleasePolicy(deadline_seconds=3600.0))
    assert [event for _, event, _ in events][-1] == "canary.verdict"
    after = [at for at, event, _ in events if event == "canary.evidence" and at > 500]
    assert after[0] < 512


def test_missing_feedback_is_told_once_and_how_to_go_on() -> None:
    world = side(BETTER, judged_share=0.0)
    world._serve("v1", 500)  # before the canary began
    events = reported(world, ReleasePolicy(deadline_seconds=60.0), **HELP)
    assert not [1 for _, event, _ in events if event == "canary.no_traffic"]
    (told,) = [(at, message) for at, event, message in events if event == "canary.no_feedback"]
    assert told[0] == pytest.approx(12, abs=2)
    assert told[1].endswith("nothing will be decided: send the truth")
    assert "no feedback on" in told[1]


def test_a_canary_that_gets_feedback_or_needs_none_is_not_told_of_it() -> None:
    errors = ReleasePolicy(primary="errors", deadline_seconds=30.0)
    for world, policy in ((side(BETTER), POLICY), (side(BETTER, judged_share=0.0), errors)):
        assert not [1 for _, event, _ in reported(world, policy, **HELP) if event == "canary.no_feedback"]


def test_feedback_that_comes_within_the_grace_is_not_missing() -> None:
    """Labels have a longer grace than requests: none is counted yet, and yet they come."""
    policy = ReleasePolicy(label_grace_seconds=12.0, deadline_seconds=40.0)
    assert not [1 for _, event, _ in reported(side(BETTER), policy, **HELP) if event == "canary.no_feedback"]
    late = side(BETTER, judged_share=0.0)
    waiting = late.pass_time

    def pass_time() -> None:
        late.judged_share = 1.0 if late.now >= 9 else 0.0
        waiting()

    late.pass_time = pass_time  # type: ignore[method-assign]
    assert not [1 for _, event, _ in reported(late, policy, **HELP) if event == "canary.no_feedback"]


def test_missing_traffic_is_told_at_once_and_only_once() -> None:
    events = reported(side(BETTER, requests_per_look=0), **HELP)
    (told,) = [(at, message) for at, event, message in events if event == "canary.no_traffic"]
    assert told[0] <= 1
    assert told[1] == (
        "canary: no request has reached v1 or v2 yet, and without traffic nothing will be decided: send some"
    )


def test_traffic_that_has_stopped_is_told_after_a_while() -> None:
    world = side(BETTER, requests_per_look=0)
    world._serve("v1", 500)  # before the canary began
    world.seen = dict(world.totals)
    ((at, message),) = [(at, m) for at, event, m in reported(world, **HELP) if event == "canary.no_traffic"]
    assert at == pytest.approx(12, abs=2)
    assert "no request for 11 s" in message


def test_counters_that_come_late_are_waited_for() -> None:
    """Those of Prometheus are up to a minute old, and the first minute is no evidence."""
    policy = ReleasePolicy(grace_seconds=60.0, look_seconds=10.0, deadline_seconds=100.0)
    world = side(BETTER, seconds_per_look=10.0)
    world._serve("v1", 500)  # before the canary began
    assert not [1 for _, event, _ in reported(world, policy, **HELP) if event == "canary.no_traffic"]


def test_where_a_replay_brings_the_traffic_nothing_is_told_of_it() -> None:
    world = side(BETTER, requests_per_look=0)
    assert not [1 for _, event, _ in reported(world) if event in ("canary.no_traffic", "canary.no_feedback")]


SLOW_TO_DECIDE = {"v1": Rates(wrong=0.05), "v2": Rates(wrong=0.05)}


def asks(decision: str, run: str = "run-1", challenger: str = "v2") -> str:
    return EarlyEnd(decision, "the boss says so", "anna@host", 1.0, challenger, run).to_json()  # type: ignore[arg-type]


def ask_at(world: FakeSide, moment: float, request: str) -> None:
    waiting = world.pass_time

    def pass_time() -> None:
        if world.now == moment:
            world.asked = request
        waiting()

    world.pass_time = pass_time  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("decision", "verdict", "left"),
    [("promote", "promoted", {"v2": 100}), ("rollback", "rolled_back", {"v1": 100})],
)
def test_a_person_ends_it_at_the_next_look(decision: str, verdict: str, left: dict) -> None:
    world = side(SLOW_TO_DECIDE, requests_per_look=20)
    ask_at(world, 7, asks(decision))
    outcome = watch(world)
    assert (outcome.verdict, world.split, world.now) == (verdict, left, 8)
    assert outcome.reason.startswith(
        "ended early by anna@host: the boss says so (after 8 s at up to 5 %; v2 "
    )
    assert (world.state.phase, world.state.ended_by) == ("finished", "anna@host")
    assert watch(world).reason == outcome.reason, "the same run is told the same again"


@pytest.mark.parametrize(
    "request_text",
    [asks("promote", run="run-0"), asks("rollback", challenger="v3"), "{", "{}", '{"decision": "explode"}'],
)
def test_what_was_not_asked_of_this_canary_ends_nothing(request_text: str) -> None:
    world = side(BETTER)
    ask_at(world, 3, request_text)
    assert "ended early" not in watch(world).reason


def test_a_request_from_before_the_canary_is_withdrawn() -> None:
    world = side(BETTER, asked=asks("rollback"))
    outcome = watch(world)
    assert outcome.verdict == "promoted"
    assert world.asked == ""


def test_a_challenger_that_is_not_ready_is_not_promoted_by_a_person_either() -> None:
    world = side(SLOW_TO_DECIDE, sick={"v2": ("unready", "starting")})
    ask_at(world, 3, asks("promote"))
    outcome = watch(world)
    assert (outcome.verdict, world.split) == ("rolled_back", {"v1": 100})
    assert "not ready" in outcome.reason


@pytest.mark.parametrize("calls", range(1, 14))
def test_killed_after_a_request_it_ends_as_asked(calls: int) -> None:
    world = side(SLOW_TO_DECIDE, requests_per_look=20, kill_after=40)
    with pytest.raises(Killed):
        watch(world)
    world.asked, world.kill_after, deaths = asks("promote"), calls, 0
    while True:
        world.text = world.state.with_(holder="gone/1/0.00", heartbeat=0.0).to_json()
        try:
            outcome = watch(world)
            break
        except Killed:
            deaths, world.kill_after = deaths + 1, calls + 5
    assert (outcome.verdict, world.split) == ("promoted", {"v2": 100})
    assert deaths < 5
