"""Ends a running canary early, as a person decides: the process that watches it acts, or this one where none does."""

from __future__ import annotations

import getpass
import re
import socket
import threading
import time
from dataclasses import dataclass

from chandlery import platform
from chandlery.canary.decision.early_end import ANNOTATION, VERDICTS, Decision, EarlyEnd, check_reason
from chandlery.canary.decision.state import CanaryState
from chandlery.canary.target import spec_of, version_of
from chandlery.canary.watch import lease
from chandlery.canary.watch.port import DeploymentSide
from chandlery.canary.watch.watcher import Canary
from chandlery.errors import ConflictError, DeadlineError, ServingError, UserError
from chandlery.resources.port import ResourceStore

WAIT_SECONDS = 60.0  # a watcher acts at its next look, and then drains what is leaving
_TICK = 0.2
_MODEL = re.compile(r"models:/([^/]+)/\d+")


@dataclass(frozen=True)
class Ended:
    """A canary that has ended early.

    Attributes:
        deployment: name of the deployment.
        model_name: registered model.
        state: its last state.
        serving: predictor that has all the traffic.
        changed: it ended now; False when it had ended so before.
    """

    deployment: str
    model_name: str
    state: CanaryState
    serving: str
    changed: bool


def person() -> str:
    """Return who runs this process, `user@host`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def end_early(
    name: str,
    namespace: str,
    decision: Decision,
    reason: str,
    by: str = "",
    version: str = "",
    wait: float = WAIT_SECONDS,
) -> Ended:
    """End the canary that is running on a deployment. Asked again after it has ended so, it changes nothing.

    Args:
        name: name of the deployment.
        namespace: its namespace.
        decision: `promote` or `rollback`.
        reason: why, one line; it is recorded with the verdict.
        by: who decides; empty: who runs this process.
        version: version that has to be the challenger; empty: whichever it is.
        wait: seconds until the process that watches the canary must have acted, at least three of its looks.

    Raises:
        NotFoundError: no such deployment.
        UserError: no canary is running there, or one of another version; or there is no reason.
        ServingError: the challenger to be promoted is not ready: nothing would answer.
        ConflictError: it is ending in another way already.
        DeadlineError: the process that watches it did not act in time; the request stays.
    """
    check_reason(reason)
    store = platform.open_resources()
    try:
        spec = spec_of(store, name, namespace)
        side = DeploymentSide(store, name, namespace, objective=1.0)
        state = _state(side)
        place = f"{namespace}/{name}"
        model = next(
            (m[1] for v in spec.variants if (m := _MODEL.fullmatch(v.uri))), spec.model_name
        )  # models:/name/12 is exact; the document's name may have been made fit for Kubernetes
        if state is not None and version and version_of(state.challenger) != version_of(version):
            raise UserError(
                f"the canary of {place} is of {state.challenger}, not of version {version_of(version)}",
                "name the version that is being released",
            )
        if state is None or state.phase == "finished":
            return Ended(name, model, *_before(state, place, decision), changed=False)
        _check(side, state, decision)
        if state.phase != "finishing":
            request = EarlyEnd(decision, reason, by or person(), time.time(), state.challenger, state.run)
            _write(store, name, namespace, request)
        state = _await(side, state, max(wait, 3 * state.policy.look_seconds))
    finally:
        store.close()
    if state.verdict != VERDICTS[decision]:
        raise ConflictError(
            f"the canary of {place} ended otherwise: {state.reason}", "see `chandlery status`"
        )
    return Ended(name, model, state, _serving(state), changed=True)


def _state(side: DeploymentSide) -> CanaryState | None:
    text = side.load()
    return CanaryState.from_json(text) if text else None


def _serving(state: CanaryState) -> str:
    return state.challenger if state.verdict == "promoted" else state.champion


def _before(state: CanaryState | None, place: str, decision: Decision) -> tuple[CanaryState, str]:
    """Return the state and what serves, of a canary that has ended as is asked now."""
    if state is not None and state.ended_by and state.verdict == VERDICTS[decision]:
        return state, _serving(state)
    last = f"; the last one: {state.challenger} {state.verdict.replace('_', ' ')}" if state else ""
    raise UserError(
        f"no canary is running on {place}{last}",
        "`chandlery status` shows its traffic; deploy_model and rollback_deployment change it without a canary",
    )


def _check(side: DeploymentSide, state: CanaryState, decision: Decision) -> None:
    if state.phase == "finishing" and state.verdict != VERDICTS[decision]:
        raise ConflictError(
            f"the canary of {state.challenger} is ending already: {state.verdict.replace('_', ' ')}: {state.reason}",
            "wait for it; then deploy_model or rollback_deployment change the traffic",
        )
    health, detail = side.health(state.challenger)
    if decision == "promote" and health != "ready":
        raise ServingError(
            f"{state.challenger} is not ready{': ' + detail if detail else ''}: promoted, nothing would answer",
            "roll it back, or wait until it is ready",
        )


def _write(store: ResourceStore, name: str, namespace: str, request: EarlyEnd) -> None:
    from chandlery.deployments import deployment

    deployment.write_annotation(store, name, namespace, ANNOTATION, request.to_json())


def _await(side: DeploymentSide, state: CanaryState, seconds: float) -> CanaryState:
    """Wait until the canary has ended; when no process watches it, end it here."""
    deadline = time.monotonic() + seconds
    while state.phase != "finished":
        if not lease.is_alive(state):
            only_end = threading.Event()
            only_end.set()  # it ends here or not at all: this process does not stay to watch
            watched = Canary(side, state.policy, run=state.run, stop=only_end, report=lambda *_, **__: None)
            return watched.watch(state.challenger).state or state
        if time.monotonic() > deadline:
            raise DeadlineError(
                f"{state.holder}, which watches the canary of {state.challenger}, did not act within {seconds:.0f} s",
                "the request stays: it acts at its next look; `chandlery status` shows the traffic",
            )
        time.sleep(_TICK)
        state = _state(side) or state
    return state
