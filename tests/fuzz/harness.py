"""What every target shares: how many cases, the time that one may take, and documents that are nearly right."""

# ruff: noqa: E501

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("CHANDLERY_FUZZ_CASES", "300"))
SEED_VARIABLE = "CHANDLERY_FUZZ_SEED"
CASE_SECONDS = 2.0  # of this process's own time: a loaded machine does not count


def cases(*strategies: Any, share: float = 1.0) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a function on CASES drawn arguments (a share of them); each within its time.

    Use inside a test, so that what is dear is made once: `@cases(strategy)` runs the function it decorates at once.
    """

    def run(function: Callable[..., None]) -> Callable[..., None]:
        def timed(drawn: tuple[Any, ...]) -> None:
            spent = _spent(function, drawn)
            if spent >= CASE_SECONDS:
                # It may have been an import, or a collection of garbage; what is slow by itself is slow again.
                spent = _spent(function, drawn)
            assert spent < CASE_SECONDS, f"{spent:.1f} s for {drawn!r:.500}"

        count = max(1, round(CASES * share))
        case = given(drawn=st.tuples(*strategies))(timed)
        case = seed(int(os.environ[SEED_VARIABLE]))(case)
        case = settings(
            max_examples=count,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )(case)
        began = time.process_time()
        case()
        print(f"{count} cases in {time.process_time() - began:.1f} s of this process")
        return function

    return run


def _spent(function: Callable[..., None], drawn: tuple[Any, ...]) -> float:
    began = time.process_time()
    function(*drawn)
    return time.process_time() - began


def _deep(depth: int, leaf: Any) -> Any:
    for level in range(depth):
        leaf = {"a": leaf} if level % 2 else [leaf]
    return leaf


JUNK: list[Any] = [
    None, True, False, 0, 1, -1, 100, 2**31, 2**63, -(2**63), 2**70, 10**400, 0.0, -0.0, 0.5, 1e308, float("nan"), float("inf"), -float("inf"),
    "", " ", "a", "0", "1", "-1", "1e400", "nan", "true", "null", "\0", "\n", "a\nb", "..", "/", "../../etc/passwd", "%2e", "a" * 5000, "ä", "😀", "\ud800",
    "\u202e", "${trialParameters.x}", "{", "[1", "(", "²", "٣", [], {}, [[]], [None], {"": ""}, {"a": None}, {"name": None}, [1, "a", None], [[1, 2], [3]], ["a"] * 300,
    {"name": "a", "value": {}}, _deep(60, 1), _deep(400, "x"), list(range(300)),
]  # fmt: skip

_STEPS = st.tuples(st.integers(0, 2**16), st.integers(0, 11), st.integers(0, len(JUNK) - 1))
_PLANS = st.tuples(st.integers(0, 2**10), st.lists(_STEPS, min_size=1, max_size=4))


def nearly(documents: list[Any]) -> st.SearchStrategy[Any]:
    """Draw one of the documents with up to four parts dropped, retyped, nested, repeated, renamed or exchanged."""

    def make(plan: tuple[int, list[tuple[int, int, int]]]) -> Any:
        which, steps = plan
        # The first document is kept in a holder, so that it can itself be exchanged.
        holder = [copy.deepcopy(documents[which % len(documents)])]
        for where, how, junk in steps:
            _change(holder, where, how, copy.deepcopy(JUNK[junk]))
        return holder[0]

    return _PLANS.map(make)


def _places(node: Any, found: list[tuple[Any, Any]], depth: int = 0) -> list[tuple[Any, Any]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        found.append((node, key))
        if depth < 30 and len(found) < 2000:
            _places(child, found, depth + 1)
    return found


def _change(holder: list[Any], where: int, how: int, junk: Any) -> None:
    places = _places(holder, [])
    parent, key = places[where % len(places)]
    old = parent[key]
    if how <= 3:
        parent[key] = junk
    elif how == 4 and parent is not holder:
        del parent[key]
    elif how == 5:
        parent[key] = [old]
    elif how == 6:
        parent[key] = {"name": old}
    elif how == 7 and isinstance(parent, list) and parent is not holder:
        parent.insert(key, copy.deepcopy(old))
    elif how == 8 and isinstance(old, dict):
        old["name" if where % 3 else "unknown"] = junk
    elif how == 9 and isinstance(old, str):
        parent[key] = old + str(junk)[:50]
    elif how == 10 and isinstance(parent, dict):
        parent[str(key) + "x"] = parent.pop(key)
    else:
        other, name = places[(where * 7 + 3) % len(places)]
        if other is not holder and parent is not holder:
            parent[key] = copy.deepcopy(other[name])


def plain(text: str) -> None:
    """Assert that a message is one for a person: something, no traceback, not endless."""
    assert text.strip()
    assert "Traceback" not in text
    assert len(text) < 60_000
