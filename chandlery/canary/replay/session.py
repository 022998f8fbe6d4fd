"""Replays a data commit against a deployment, as a step of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chandlery import platform, progress
from chandlery.canary.parameters import ReplayParameters
from chandlery.canary.replay.sender import Replay, Replayed, TrafficLoader
from chandlery.canary.target import endpoint_of, place_of, spec_of, stopped_by_sigterm
from chandlery.errors import UserError


def replay_traffic(parameters: ReplayParameters, load_traffic: TrafficLoader) -> Replayed:
    """Replay the labelled rows of a data commit against a deployment, with feedback.

    Args:
        parameters: what is replayed, where to, how fast and how long.
        load_traffic: returns the rows to replay, judged by the recipe of the version given to it.

    Raises:
        NotFoundError: no such deployment, repo, commit or version.
        UserError: neither `seconds` nor `requests`.
    """
    if parameters.seconds <= 0 and parameters.requests <= 0:
        raise UserError("replay: without an end", "give seconds or requests")
    name, where = place_of(parameters.model_name, parameters.deployment, parameters.namespace)
    store = platform.open_resources()
    try:
        spec = spec_of(store, name, where)
    finally:
        store.close()
    traffic = load_traffic(spec.stable.version)
    progress.report(
        "replay.started",
        f"replaying {len(traffic)} rows of {parameters.repo}@{parameters.ref} against {where}/{name}, judged by the "
        f"recipe of version {spec.stable.version}",
        rows=len(traffic),
    )
    replay = Replay(
        endpoint_of(name, where, spec, 2 * parameters.concurrency),
        traffic,
        parameters.rate,
        seed=parameters.seed,
        concurrency=parameters.concurrency,
        limit=parameters.requests,
        seconds=parameters.seconds,
    )
    stop = threading.Event()
    with stopped_by_sigterm(stop), _reported(replay):
        asyncio.run(replay.run(stop))
    result = replay.result
    progress.report(
        "replay.finished",
        f"replayed {result.sent} requests in {result.seconds:.1f} s, {result.failed} not answered, "
        f"median {1000 * result.quantile(0.5):.1f} ms",
        sent=result.sent,
        failed=result.failed,
    )
    return result


@contextmanager
def _reported(replay: Replay) -> Iterator[None]:
    """Report progress every 5 s while a replay runs."""
    done = threading.Event()

    def report() -> None:
        while not done.wait(5.0):
            result = replay.result
            progress.report(
                "replay.progress",
                f"replayed {result.sent} requests, {result.failed} not answered",
                sent=result.sent,
                failed=result.failed,
            )

    thread = threading.Thread(target=report, name="replay-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
