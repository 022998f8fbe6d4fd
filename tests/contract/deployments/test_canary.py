"""A canary on the real thing: controller, gateway, counters and replayed traffic, with a stand-in for the model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from chandlery.canary import release
from chandlery.canary.decision import machine
from chandlery.canary.decision.early_end import Decision
from chandlery.canary.decision.state import ANNOTATION, CanaryState
from chandlery.canary.ending import end_early
from chandlery.canary.parameters import CanaryParameters
from chandlery.deployments.deployment import apply, current, read_annotation, wait_ready, write_annotation
from chandlery.deployments.evidence import read_evidence
from chandlery.deployments.spec import ServingSpec
from chandlery.errors import UserError

from . import echo_traffic
from .conftest import Platform, serving, until, variant

pytestmark = pytest.mark.slow
PARAMETERS = CanaryParameters(
    "digits",
    "13",
    traffic_repo="traffic",
    deadline_seconds=45.0,
    look_seconds=0.5,
    minimum_requests=30,
    seed=1,
)


@pytest.fixture
def kind() -> str:
    """One gateway is enough here: both pass the same contract elsewhere."""
    from chandlery.embedded.gateway.envoy import find_envoy

    return "envoy" if find_envoy() else "aiohttp"


def deploy(platform: Platform, challenger: str) -> None:
    """Serve v12, wrong in 9 %, and v13 at 5 % beside it."""
    champion = variant("12", 100, "wrong=0.09")
    apply(platform.store, serving(champion))
    wait_ready(platform.store, "digits", "default", 20)
    apply(platform.store, serving(variant("12", 95, "wrong=0.09"), variant("13", 5, challenger)))
    wait_ready(platform.store, "digits", "default", 20)


def release_it(monkeypatch: pytest.MonkeyPatch, run: str = "run-1", rate: float = 200.0) -> release.Released:
    monkeypatch.setenv("CHANDLERY_RUN_ID", run)
    return release.run_canary(replace(PARAMETERS, replay_rate=rate), echo_traffic.load)


def serves(platform: Platform) -> dict[str, int]:
    spec = current(platform.store, "digits", "default")
    assert isinstance(spec, ServingSpec)
    return dict(spec.weights)


def _judged_share(predictor: str) -> float:
    counts = read_evidence("digits", "default", 0.5)[predictor]
    return counts.judged / counts.requests


def test_a_better_version_is_promoted(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(platform, "wrong=0.03")
    began = time.monotonic()
    found = release_it(monkeypatch)
    assert (found.verdict, found.serving_version, found.released) == ("promoted", "13", True), found.reason
    assert time.monotonic() - began < 40
    assert serves(platform) == {"v13": 100}
    assert "failed" not in found.reason
    html = found.page.html()
    assert "promoted" in html
    assert "<svg" in html
    state = CanaryState.from_json(read_annotation(platform.store, "digits", "default", ANNOTATION))
    assert [epoch.weight for epoch in state.epochs] == [5, 25, 50]
    champion, challenger = state.totals()
    assert champion.errors == challenger.errors == 0
    assert champion.judged > 0
    # Labels have a longer grace than requests, so the epochs hold fewer; the counters themselves miss next to none.
    until(lambda: _judged_share("v13") > 0.98, "feedback on nearly every answer was counted", 5.0)
    # The same run asks again and is told the same; another run has nothing to do.
    assert release_it(monkeypatch).verdict == "promoted"
    assert release_it(monkeypatch, run="run-2").verdict == "nothing_to_do"


def test_a_worse_version_is_rolled_back(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(platform, "wrong=0.3")
    began = time.monotonic()
    found = release_it(monkeypatch)
    assert (found.verdict, found.serving_version, found.released) == ("rolled_back", "12", False), (
        found.reason
    )
    assert time.monotonic() - began < 25
    assert serves(platform) == {"v12": 100}
    until(lambda: len(platform.servers()) == 1, "the challenger's server is stopped")


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("dies=15", ""),
        ("status=500", "errors"),
        ("status=400", "refused requests"),
        ("slow=0.8", "slow answers"),
    ],
    ids=["crashes", "errors", "refusals", "slow"],
)
def test_a_version_that_fails_otherwise_is_rolled_back(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, behaviour: str, says: str
) -> None:
    deploy(platform, behaviour)
    found = release_it(monkeypatch)
    assert found.verdict == "rolled_back", found.reason
    assert says in found.reason
    assert serves(platform) == {"v12": 100}


def test_killed_again_and_again_it_ends_as_it_would_have(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed (-9) at five moments of the step at five moments, then SIGTERM, then left alone: one verdict, the same epochs."""
    deploy(platform, "wrong=0.03")
    environment = {**os.environ, "CHANDLERY_RUN_ID": "run-1", "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(Path(__file__).with_name("echo_traffic.py"))]
    states: list[CanaryState] = []
    for index, seconds in enumerate((1.2, 2.5, 3.5, 3.0, 4.0, 4.0)):
        with open(tmp_path / "step.log", "ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            try:
                process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM if index == 5 else signal.SIGKILL)
                process.wait(20)
        text = read_annotation(platform.store, "digits", "default", ANNOTATION)
        if text:
            states.append(CanaryState.from_json(text))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "VERDICT promoted" in done.stdout
    assert serves(platform) == {"v13": 100}
    last = CanaryState.from_json(read_annotation(platform.store, "digits", "default", ANNOTATION))
    assert states
    for state in states:
        assert [e.opened for e in last.epochs][: len(state.epochs)] == [e.opened for e in state.epochs]
        assert last.epochs[0].champion.requests >= state.totals()[0].requests * (len(state.epochs) == 1)


@pytest.mark.parametrize(("decision", "left"), [("promote", {"v13": 100}), ("rollback", {"v12": 100})])
def test_a_person_ends_a_canary_that_another_process_watches(
    platform: Platform, tmp_path: Path, decision: Decision, left: dict[str, int]
) -> None:
    deploy(platform, "wrong=0.09")
    environment = {**os.environ, "CHANDLERY_RUN_ID": "run-1", "PYTHONPATH": str(Path(__file__).parents[3])}
    with open(tmp_path / "step.log", "wb") as log:
        step = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("echo_traffic.py"))],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            until(lambda: _phase(platform) == "observing", "the canary is under way", 20.0)
            ended = end_early("digits", "default", decision, "it is Friday", "anna")
            assert step.wait(20) == 0, (tmp_path / "step.log").read_text()
        finally:
            step.kill()
    assert serves(platform) == left
    assert ended.changed
    assert ended.state.reason.startswith("ended early by anna: it is Friday (after ")
    assert f"VERDICT {ended.state.verdict}: {ended.state.reason}" in (tmp_path / "step.log").read_text()
    again = end_early("digits", "default", decision, "it is still Friday", "anna")
    assert (again.changed, again.state.reason) == (False, ended.state.reason)


def test_a_canary_that_nobody_watches_is_ended_where_it_is_asked(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(platform, "wrong=0.09")
    with pytest.raises(UserError, match="no canary is running on default/digits"):
        end_early("digits", "default", "promote", "why not")
    assert serves(platform) == {"v12": 95, "v13": 5}
    monkeypatch.setenv("CHANDLERY_RUN_ID", "run-1")
    policy = replace(PARAMETERS, traffic_repo="").policy()
    state = machine.begin("run-1", "v12", "v13", policy)
    write_annotation(platform.store, "digits", "default", ANNOTATION, state.to_json())
    ended = end_early("digits", "default", "promote", "the step was stopped", "anna")
    assert (ended.serving, serves(platform)) == ("v13", {"v13": 100})
    # The step, run again, is told the same.
    assert release_it(monkeypatch).reason == ended.state.reason


def _phase(platform: Platform) -> str:
    text = read_annotation(platform.store, "digits", "default", ANNOTATION)
    return CanaryState.from_json(text).phase if text else ""
