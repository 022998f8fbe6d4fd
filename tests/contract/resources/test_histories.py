"""Random histories of two owners and a controller end the same on a laptop and on a real API server."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from chandlery.embedded.resources import EmbeddedStore
from chandlery.errors import ChandleryError
from chandlery.resources import TRIAL, ResourceStore

pytestmark = pytest.mark.real("CHANDLERY_TEST_KUBECONFIG")

HISTORIES = int(os.environ.get("CHANDLERY_TEST_HISTORIES", "30"))
STEPS = 12
VALUES = (0, True, "", "text", [], [{"name": "a"}], {}, {"a": 1}, {"a": {"b": 2}}, {"a": {"c": 1}, "b": [3]})
SET_BY_SERVER = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
    "namespace",
)


def some(random: random.Random, keys: str, values: tuple[Any, ...]) -> dict[str, Any]:
    return {key: random.choice(values) for key in keys if random.random() < 0.5}


def step(random: random.Random, store: ResourceStore, namespace: str) -> Any:
    """Do one thing to the only document; returns what can be seen of it afterwards."""
    what = random.choices(["apply", "status", "delete"], [10, 2, 1])[0]
    metadata = {"name": "one", "namespace": namespace}
    for what_else in ("labels", "annotations"):
        if filled := some(random, "ab", ("x", "y")):
            metadata[what_else] = filled
    if random.random() < 0.3:
        metadata["finalizers"] = random.choice((["c.io/a"], ["c.io/b"], ["c.io/a", "c.io/b"]))
    document = {"apiVersion": TRIAL.api_version, "kind": "Trial", "metadata": metadata}
    if random.random() < 0.9:
        document["spec"] = some(random, "abc", VALUES)
    owner, force = random.choice(("first", "second")), random.random() < 0.4
    status = some(random, "ab", (1, "x", {"c": 1}))
    try:
        if what == "apply":
            store.apply(document, owner=owner, force=force)
        elif what == "status":
            store.update_status({**document, "status": status})
        else:
            store.delete(TRIAL, "one", namespace)
        outcome = what
    except ChandleryError as error:
        outcome = f"{what}: {type(error).__name__}"
    return outcome, document, owner, force, [seen(found) for found in store.list(TRIAL, namespace)]


def seen(document: dict[str, Any]) -> dict[str, Any]:
    """What a caller may rely on: all but the values that each server makes for itself."""
    metadata = document["metadata"]
    kept = {key: value for key, value in metadata.items() if key not in SET_BY_SERVER}
    kept["marked"] = "deletionTimestamp" in metadata
    if "finalizers" in kept:
        kept["finalizers"] = sorted(kept["finalizers"])
    owners = {
        entry["manager"]: entry["fieldsV1"]
        for entry in metadata.get("managedFields", ())
        if entry["operation"] == "Apply"
    }
    return {**document, "metadata": kept, "owners": owners}


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_the_same_history_ends_the_same(
    cluster_store: ResourceStore, namespace: str, tmp_path: Path, seed: int
) -> None:
    embedded = EmbeddedStore(tmp_path)
    here, there = random.Random(seed), random.Random(seed)
    for number in range(STEPS):
        mine, theirs = step(here, embedded, namespace), step(there, cluster_store, namespace)
        if ": null" in json.dumps(theirs):
            break  # a map that is emptied while somebody owns it is null there and {} here; from there on they part
        assert mine == theirs, number
    embedded.close()
