"""The state machine, without a clock, a network or a store: what each look decides."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery.canary.decision import machine
from chandlery.canary.decision.assessment import assess
from chandlery.canary.decision.policy import Guardrail, ReleasePolicy, guardrails
from chandlery.canary.decision.state import MAX_LOOKS, CanaryState, Epoch
from chandlery.errors import InvalidDocumentError
from chandlery.resources.counts import Counts

POLICY = ReleasePolicy(grace_seconds=0.0, label_grace_seconds=0.0, minimum_requests=20)


def good(requests: int, bad: int = 0, *, errors: int = 0, slow: int = 0) -> Counts:
    return Counts(requests=requests, errors=errors, slow=slow, judged=requests, wrong=bad)


def observing(policy: ReleasePolicy = POLICY, **changes: object) -> CanaryState:
    state = machine.begin("run", "v1", "v2", policy).with_(**changes)
    return machine.opened(state, (Counts(), Counts()))


def look(
    state: CanaryState, champion: Counts, challenger: Counts, elapsed: float = 1.0, health: str = "ready"
) -> tuple[CanaryState, machine.NextAction]:
    state, found, _ = machine.observe(state, (champion, challenger), elapsed, health, "the last line")  # type: ignore[arg-type]
    return state, found


def test_it_waits_for_the_minimum_then_takes_the_next_weight() -> None:
    state, found = look(observing(), good(190, 10), good(10))
    assert (found.action, state.weight) == ("wait", 5)
    assert "10 of 20 judged answers of v2 at 5 %" in found.why
    state, found = look(state, good(950, 60), good(50, 3), elapsed=2.0)
    assert (found.action, state.phase, state.weight) == ("shift", "shifting", 25)


def test_a_clearly_better_challenger_is_promoted_only_after_the_whole_walk() -> None:
    state = observing()
    champion, challenger, seen, now = Counts(), Counts(), [], 0.0
    while state.phase != "finishing":
        now += 1.0
        share = state.weight / 100
        champion += good(round(1000 * (1 - share)), round(100 * (1 - share)))
        challenger += good(round(1000 * share), round(30 * share))
        state, found = look(state, champion, challenger, now)
        seen.append((state.epochs[-1].weight, found.action))
        if found.action == "shift":
            state = machine.opened(state, (champion, challenger))
        assert now < 20
    assert state.verdict == "promoted"
    assert [weight for weight, _ in seen] == sorted(weight for weight, _ in seen)
    assert {weight for weight, _ in seen} == {5, 25, 50}
    assert "wrong answers: v2 3" in state.reason
    assert "2 times as many is ruled out" in state.reason


def test_proof_is_kept_when_later_evidence_dilutes_it() -> None:
    """Ville's inequality is about ever reaching the threshold, so a level once passed stays passed."""
    state, _ = look(observing(stage=2), good(500, 60), good(500, 20))
    assert state.proven
    assert state.verdict == "promoted"
    state = observing(stage=0)
    state, found = look(state, good(1900, 190), good(100, 1))
    assert state.proven
    assert found.action == "shift"


def test_a_worse_challenger_is_rolled_back_on_the_first_weight() -> None:
    state, found = look(observing(), good(950, 85), good(50, 20))
    assert (found.action, state.verdict) == ("finish", "rolled_back")
    assert "v2 40 % (20 of 50) against v1 8.9 % (85 of 950)" in state.reason


@pytest.mark.parametrize(
    ("challenger", "metric"),
    [
        (Counts(requests=100, errors=30, judged=0, wrong=0), "errors"),
        (Counts(requests=100, slow=30, judged=0, wrong=0), "slow answers"),
        (Counts(requests=100, refused=30, judged=0, wrong=0), "refused requests"),
    ],
)
def test_every_guard_rail_can_roll_back(challenger: Counts, metric: str) -> None:
    state, _ = look(observing(), Counts(requests=1900, errors=19, slow=19), challenger)
    assert state.verdict == "rolled_back"
    assert state.reason.startswith(metric)


def test_a_worse_rate_that_nobody_minds_rolls_nothing_back() -> None:
    """30 slow answers of 5,000 where the champion has none: worse beyond doubt, and below the tolerable 1 %."""
    champion, challenger = good(5000, 100), good(5000, 100, slow=30)
    state, _ = look(observing(stage=2), champion, challenger)
    rail = assess(state.epochs, POLICY).rail("slow")
    assert rail.log_rollback > POLICY.rollback_threshold
    assert not rail.alarm
    assert state.verdict == "promoted"
    strict = ReleasePolicy(
        guardrails=(Guardrail("wrong", 0.0), Guardrail("slow", 0.0)),
        grace_seconds=0.0,
        label_grace_seconds=0.0,
    )
    assert look(observing(strict, stage=2), champion, challenger)[0].verdict == "rolled_back"


def test_guard_rails_alone_promote_nothing() -> None:
    """No feedback: errors and latency are fine, and yet nothing is known of wrong answers."""
    state = observing(stage=2)
    state, found = look(
        state, Counts(requests=5000, errors=100), Counts(requests=5000, errors=50), elapsed=10
    )
    assert found.action == "wait"
    state, found = look(state, state.last[0], state.last[1], elapsed=POLICY.deadline_seconds)
    assert state.verdict == "inconclusive"
    assert "no feedback arrived" in state.reason


def test_errors_as_primary_need_no_feedback() -> None:
    policy = ReleasePolicy(primary="errors", minimum_requests=20, grace_seconds=0.0, label_grace_seconds=0.0)
    state, _ = look(
        observing(policy, stage=2), Counts(requests=2000, errors=60), Counts(requests=2000, errors=20)
    )
    assert state.verdict == "promoted"


def test_callers_who_send_nonsense_swing_nothing() -> None:
    """A third of all requests is refused by both: neither a rollback, nor a promotion of one that fails three times as often."""
    policy = ReleasePolicy(primary="errors", grace_seconds=0.0, label_grace_seconds=0.0)

    def counts(requests: int, errors: int) -> Counts:
        return Counts(requests=requests, errors=errors, refused=requests // 3)

    even = look(observing(policy), counts(19_000, 0), counts(1000, 0))[0]
    assert even.verdict == ""
    flooded = assess(look(observing(policy), counts(19_000, 60), counts(1000, 9))[0].epochs, policy)
    quiet = assess(
        look(observing(policy), Counts(requests=12_667, errors=60), Counts(requests=667, errors=9))[0].epochs,
        policy,
    )
    assert flooded.log_promote == pytest.approx(quiet.log_promote)
    assert flooded.rail("errors").log_rollback == pytest.approx(quiet.rail("errors").log_rollback)


def test_a_challenger_that_refuses_everything_is_rolled_back_and_proves_nothing() -> None:
    policy = ReleasePolicy(primary="errors", grace_seconds=0.0, label_grace_seconds=0.0)
    state, _ = look(observing(policy), Counts(requests=9500, errors=9), Counts(requests=500, refused=500))
    assert state.verdict == "rolled_back"
    assert "refused requests: v2 100 % (500 of 500)" in state.reason
    assert not state.proven


def test_hardly_any_bad_events_are_proven_by_their_absence() -> None:
    """Zero errors on both sides never speak about a ratio; enough requests prove a rate below the tolerable one."""
    policy = ReleasePolicy(primary="errors", grace_seconds=0.0, label_grace_seconds=0.0)
    few, _ = look(observing(policy, stage=2), Counts(requests=1000), Counts(requests=1000))
    many, _ = look(observing(policy, stage=2), Counts(requests=20_000), Counts(requests=20_000))
    assert (few.verdict, many.verdict) == ("", "promoted")
    never = ReleasePolicy(
        primary="errors", guardrails=(Guardrail("errors", 0.0),), grace_seconds=0.0, label_grace_seconds=0.0
    )
    assert not look(observing(never, stage=2), Counts(requests=10**7), Counts(requests=10**7))[0].verdict


def test_a_wrong_split_is_seen_before_anything_is_decided() -> None:
    """12 % where 5 % was told: the rates may look as they like."""
    state, _ = look(observing(), good(880, 300), good(120, 0))
    assert state.verdict == "inconclusive"
    assert "sample ratio: v2 got 120 of 1000 requests at weights 5 %" in state.reason


def test_feedback_for_one_variant_only_is_seen() -> None:
    state, _ = look(
        observing(stage=2),
        Counts(requests=500, judged=500, wrong=50),
        Counts(requests=500, judged=300, wrong=4),
    )
    assert state.verdict == "inconclusive"
    assert "judged answers" in state.reason


def test_a_failed_challenger_is_rolled_back_at_once() -> None:
    state, found = look(observing(), Counts(), Counts(), health="failed")
    assert (found.action, state.verdict) == ("finish", "rolled_back")
    assert state.reason == "v2 failed: the last line"


def test_a_challenger_that_is_not_ready_gets_its_time() -> None:
    state, found = look(observing(), good(10), Counts(), elapsed=1.0, health="unready")
    assert found.action == "wait"
    recovered, _ = look(state, good(20), Counts(), elapsed=2.0)
    assert recovered.unready_since < 0
    state, _ = look(state, good(20), Counts(), elapsed=6.0, health="unready")
    assert not state.verdict
    state, _ = look(state, good(30), Counts(), elapsed=11.0, health="unready")
    assert state.verdict == "rolled_back"
    assert "not ready for 10 s" in state.reason


def test_the_deadline_keeps_the_champion() -> None:
    state, _ = look(observing(), good(950, 95), good(50, 6), elapsed=POLICY.deadline_seconds)
    assert state.verdict == "inconclusive"
    assert "no decision within 600 s" in state.reason
    assert "needed 20" in state.reason


def test_exposure_does_not_grow_while_evidence_leans_against() -> None:
    _, found = look(observing(), good(950, 85), good(50, 12))
    assert found.action == "wait"
    assert "holding 5 %" in found.why


def test_counts_of_the_grace_are_dropped() -> None:
    policy = ReleasePolicy(grace_seconds=1.0, label_grace_seconds=3.0)
    state = observing(policy)
    state, _ = look(state, good(100, 10), good(10), elapsed=1.0)  # began at 0: within the grace
    assert state.epochs[-1] == Epoch(5, 0.0)
    state, _ = look(state, good(200, 20), good(20), elapsed=2.0)  # requests count, labels wait
    assert state.epochs[-1].champion == Counts(requests=100)
    state, _ = look(state, good(300, 30), good(30), elapsed=3.0)
    state, _ = look(state, good(400, 40), good(40), elapsed=4.0)  # began at 3: labels count too
    assert state.epochs[-1].champion == Counts(requests=300, judged=100, wrong=10)


def test_counters_that_restart_lose_nothing_else() -> None:
    state, _ = look(observing(), good(100, 10), good(10, 1))
    state, _ = look(state, good(30, 2), good(20, 3), elapsed=2.0)
    assert state.epochs[-1].champion == good(130, 12)
    assert state.epochs[-1].challenger == good(20, 3)


def test_epochs_multiply() -> None:
    """The evidence is a product over weights, not one test on pooled counts (Simpson's paradox)."""
    epochs = [Epoch(5, 0.0, good(950, 95), good(50, 5)), Epoch(50, 9.0, good(500, 20), good(500, 20))]
    both = assess(epochs, POLICY).rail("wrong").log_rollback
    each = [assess([epoch], POLICY).rail("wrong").log_rollback for epoch in epochs]
    assert both == pytest.approx(sum(each))
    assert both < 0


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(0, 500)),
        min_size=1,
        max_size=12,
    )
)
def test_whatever_is_counted_the_machine_stays_sane(steps: list[tuple[int, int, int, int]]) -> None:
    """Any counters, falling ones and impossible ones too: a legal state that survives JSON, and finite evidence."""
    state = observing()
    for second, (a, b, c, d) in enumerate(steps):
        counters = (Counts(a, b, c, a, d), Counts(b, a, d, b, c))
        state, found, evidence = machine.observe(state, counters, float(second + 1), "ready")
        assert all(math.isfinite(rail.log_rollback) for rail in evidence.rails)
        assert math.isfinite(evidence.log_promote)
        assert CanaryState.from_json(state.to_json()) == state
        assert (state.phase == "finishing") == (found.action == "finish") == bool(state.verdict)
        if found.action == "finish":
            return
        if found.action == "shift":
            state = machine.opened(state, counters)


def test_old_looks_are_thinned_and_the_newest_is_kept() -> None:
    state = observing(ReleasePolicy(deadline_seconds=1e9))
    for second in range(2 * MAX_LOOKS):
        state, _ = look(state, good(19 * second), good(0), elapsed=float(second))
        if state.verdict:
            pytest.fail(state.reason)
        state = state.with_(epochs=(Epoch(5, 0.0),))
    assert len(state.looks) <= MAX_LOOKS
    assert state.looks[-1].at == 2 * MAX_LOOKS - 1
    assert len(state.to_json()) < 60_000  # all annotations of an object share 256 KiB


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}', '{"schema": 1}', "null"])
def test_an_annotation_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        CanaryState.from_json(text)
    assert "remove it" in caught.value.hint


@pytest.mark.parametrize(
    ("log", "text"),
    [
        (math.log(20), "20"),
        (math.log(6520), "6,520"),
        (math.log(0.01234), "0.0123"),
        (math.log(1e9), "1e+9"),
        (-5000.0, "1e-2171"),
    ],
)
def test_e_values_are_readable(log: float, text: str) -> None:
    assert machine.e_value(log) == text


def test_guard_rails_can_be_left_out() -> None:
    policy = ReleasePolicy(guardrails=guardrails(["wrong"]), grace_seconds=0.0, label_grace_seconds=0.0)
    state, _ = look(observing(policy), Counts(requests=1900), Counts(requests=100, errors=50))
    assert not state.verdict


def test_counts_that_come_together_are_divided_by_the_design_effect() -> None:
    """Ten times the counts with a design effect of ten are the same evidence, on every question."""
    once = observing(ReleasePolicy(grace_seconds=0.0, label_grace_seconds=0.0))
    tenfold = observing(ReleasePolicy(grace_seconds=0.0, label_grace_seconds=0.0, design_effect=10.0))
    _, _, plain = machine.observe(
        once, (good(900, 9, errors=3, slow=2), good(60, 4, errors=1, slow=1)), 1.0, "ready"
    )
    many = (good(9000, 90, errors=30, slow=20), good(600, 40, errors=10, slow=10))
    _, _, told = machine.observe(tenfold, many, 1.0, "ready")
    assert told.log_promote == pytest.approx(plain.log_promote)
    assert told.log_mismatch == pytest.approx(plain.log_mismatch)
    assert told.log_label_mismatch == pytest.approx(plain.log_label_mismatch)
    assert [r.log_rollback for r in told.rails] == pytest.approx([r.log_rollback for r in plain.rails])
