"""Replays a data commit against a deployment, as a step of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from chandlery import platform, progress
from chandlery.canary.replay.sender import Replay, Replayed, load_traffic
from chandlery.canary.target import endpoint_of, place_of, spec_of, stopped_by_sigterm
from chandlery.errors import UserError


def replay_traffic(
    model_name: str,
    deployment: str,
    namespace: str,
    repo: str,
    ref: str,
    part: str,
    rate: float,
    seconds: float,
    requests: int,
    concurrency: int,
    seed: int,
) -> Replayed:
    """Replay the labelled rows of a data commit against a deployment, with feedback.

    Args:
        model_name: registered model.
        deployment: name of the deployment; empty: the model's.
        namespace: Kubernetes namespace; empty: the endpoint's.
        repo: Pachyderm repo.
        ref: branch, commit or ancestor.
        part: `test`, `validation` or `train` split, `all` rows, or `auto`, see `replay.load_traffic`.
        rate: requests per second; 0: as many as `concurrency` connections get answered.
        seconds: time to replay for; 0: until `requests` are sent.
        requests: requests to send; 0: until `seconds` are over.
        concurrency: requests under way at most.
        seed: for the rows drawn and the moments.

    Raises:
        NotFoundError: no such deployment, repo, commit or version.
        UserError: neither `seconds` nor `requests`.
    """
    if seconds <= 0 and requests <= 0:
        raise UserError("replay: without an end", "give seconds or requests")
    name, where = place_of(model_name, deployment, namespace)
    store = platform.open_resources()
    try:
        spec = spec_of(store, name, where)
    finally:
        store.close()
    traffic = load_traffic(repo, ref, model_name, spec.stable.version, part)
    progress.report(
        "replay.started",
        f"replaying {len(traffic)} rows of {repo}@{ref} against {where}/{name}, judged by the recipe of "
        f"version {spec.stable.version}",
        rows=len(traffic),
    )
    replay = Replay(
        endpoint_of(name, where, spec, 2 * concurrency),
        traffic,
        rate,
        seed=seed,
        concurrency=concurrency,
        limit=requests,
        seconds=seconds,
    )
    stop = threading.Event()
    with stopped_by_sigterm(stop), _told(replay):
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
def _told(replay: Replay) -> Iterator[None]:
    """Report progress every 5 s while a replay runs."""
    done = threading.Event()

    def tell() -> None:
        while not done.wait(5.0):
            result = replay.result
            progress.report(
                "replay.progress",
                f"replayed {result.sent} requests, {result.failed} not answered",
                sent=result.sent,
                failed=result.failed,
            )

    thread = threading.Thread(target=tell, name="replay-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
