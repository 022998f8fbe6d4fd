"""One piece of work in a process of its own: `python -m tests.chaos.worker WORK CONTENT`.

It does with the package's functions what a step does, without the seconds that a step takes to start. Run again it
completes what was left. Exit code and messages are those of the command line.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chandlery import addresses, platform
from chandlery.errors import ChandleryError

from .package import submission_of

Content = Mapping[str, Any]

DEADLINE = 240.0  # seconds for a deployment, or the platform, to be ready


def write(content: Content) -> None:
    """Commit a folder, and read the branch back."""
    from chandlery import data

    done = data.commit(content["source"], content["repo"], timeout=120)
    data.checkout(content["repo"], done.commit)


def search(content: Content) -> None:
    """Search, with trials that are small programs."""
    from chandlery.search.experiment import run_search

    store = platform.open_resources()
    try:
        run_search(store, content["document"], deadline_seconds=DEADLINE)
    finally:
        store.close()


def register(content: Content) -> None:
    """Register a model package."""
    from chandlery.registry.register import register

    register(submission_of(Path(content["package"]), content["model"], content["digest"]))


def aliases(content: Content) -> None:
    """Promote a version, roll back, and promote it again."""
    from chandlery.registry.aliases import promote, rollback

    for version in content["versions"]:
        promote(content["model"], version, "chaos")
    rollback(content["model"], reason="chaos")
    promote(content["model"], content["versions"][-1], "chaos")


def release(content: Content) -> None:
    """A version alone, another one beside it with changing weights, and that one alone."""
    from chandlery.deployments.deployment import remove_predictor, set_weights, wait_ready

    store = platform.open_resources()
    dice = random.Random(content["seed"])
    first, second = content["versions"]
    try:
        for weights in ({first: 100}, {first: 70, second: 30}):
            _apply(store, content, weights)
        for _ in range(4):
            share = dice.randint(1, 99)
            set_weights(
                store,
                content["deployment"],
                "default",
                {f"v{first}": share, f"v{second}": 100 - share},
                DEADLINE,
            )
        remove_predictor(store, content["deployment"], "default", f"v{first}", DEADLINE)
        wait_ready(store, content["deployment"], "default", DEADLINE)
    finally:
        store.close()


def roll(content: Content) -> None:
    """Give the servers of a deployment with two replicas another environment: they are replaced one after the other."""
    store = platform.open_resources()
    try:
        for generation in range(2):
            variable = ("GENERATION", f"{content['seed']}-{generation}")
            _apply(store, content, {content["versions"][0]: 100}, replicas=2, environment=(variable,))
    finally:
        store.close()


def restart(content: Content) -> None:
    """Stop the platform, and start it."""
    laptop = platform.laptop()
    laptop.down(addresses.home())
    laptop.up(addresses.home(), deadline=DEADLINE)


def _apply(store: Any, content: Content, weights: Mapping[str, int], **changes: Any) -> None:
    from chandlery.deployments.deployment import apply, wait_ready
    from chandlery.deployments.spec import ServingSpec, Variant

    name = content["deployment"]
    variants = tuple(Variant(version, "standin:?", weight) for version, weight in weights.items())
    strategy = "replace" if len(variants) == 1 else "canary"
    apply(store, ServingSpec(name, "default", "chaos", variants, strategy=strategy).with_(**changes))
    wait_ready(store, name, "default", DEADLINE)


WORKS: dict[str, Callable[[Content], None]] = {
    "write": write,
    "search": search,
    "register": register,
    "aliases": aliases,
    "release": release,
    "roll": roll,
    "restart": restart,
}


def main() -> int:
    """Do it; as `chandlery run` does, bring the platform up first."""
    try:
        platform.laptop().up(addresses.home(), deadline=DEADLINE)
        WORKS[sys.argv[1]](json.loads(sys.argv[2]))
    except ChandleryError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
