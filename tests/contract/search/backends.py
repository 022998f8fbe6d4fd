"""The Katib that a behaviour is tried on: the embedded controller, or the one of a cluster."""

from __future__ import annotations

import json
import os
import shlex
import sys
import textwrap
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from chandlery.resources import EXPERIMENT, TRIAL, ResourceStore
from chandlery.resources.experiment_status import condition, is_set, objective_value, state_of

VARIABLE = "CHANDLERY_TEST_KUBECONFIG"
IMAGE_VARIABLE = "CHANDLERY_TEST_TRIAL_IMAGE"

_PRELUDE = """
import sys, time
given = dict(word.split("=", 1) for word in sys.argv[1:])
x, y = float(given["x"]), float(given["y"])
def write(name, value):
    print(f"{name}={value}", flush=True)
"""


@dataclass(frozen=True)
class Trial:
    """One trial as its documents tell it.

    Attributes:
        assignments: parameter values by name, as text.
        state: the condition that it ended with.
        objective: its objective by its strategy; None when it has none.
        metrics: the latest value of every metric that it has.
        rules: its early-stopping rules.
    """

    assignments: dict[str, str]
    state: str
    objective: float | None
    metrics: dict[str, float]
    rules: list[dict[str, Any]]


@dataclass(frozen=True)
class Katib:
    """A Katib to try things on.

    Attributes:
        store: its resources.
        namespace: where to work.
        python: how a trial's shell calls Python.
        image: the trials' image.
        seconds: how long a search of a few short trials may take.
    """

    store: ResourceStore
    namespace: str
    python: str
    image: str
    seconds: float

    def submit(self, name: str, code: str, **spec: Any) -> str:
        """Submit an Experiment over x and y in [-1, 1], whose trials run `code`; return its name.

        The code finds `x` and `y` (floats) and `write(name, value)`.
        """
        program = _PRELUDE + textwrap.dedent(code)
        # Katib appends its own redirection to a shell's script, and joins any other command's words without quotes.
        script = f"{self.python} -I -S -c {shlex.quote(program)}"
        names = [parameter["name"] for parameter in spec.get("parameters", PARAMETERS)]
        script += "".join(f" {name}=${{trialParameters.{name}}}" for name in names)
        container = {"name": "trial", "image": self.image, "command": ["sh", "-c", script]}
        pod = {"restartPolicy": "Never", "containers": [container]}
        document = {
            "apiVersion": EXPERIMENT.api_version,
            "kind": EXPERIMENT.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "objective": {"type": "maximize", "objectiveMetricName": "score"},
                "algorithm": algorithm("random", random_state=1),
                "parallelTrialCount": 2,
                "maxTrialCount": 4,
                "maxFailedTrialCount": 1,
                "parameters": PARAMETERS,
                "trialTemplate": {
                    "primaryContainerName": "trial",
                    "trialParameters": [{"name": name, "reference": name} for name in names],
                    "trialSpec": {
                        "apiVersion": "batch/v1",
                        "kind": "Job",
                        "spec": {
                            "backoffLimit": 0,
                            "template": {
                                "metadata": {"annotations": {"sidecar.istio.io/inject": "false"}},
                                "spec": pod,
                            },
                        },
                    },
                },
                **spec,
            },
        }
        self.store.apply(document)
        return name

    def finished(self, name: str) -> dict[str, Any]:
        """Wait until the Experiment has ended, and return it."""
        deadline = time.monotonic() + self.seconds
        while time.monotonic() < deadline:
            document = self.store.get(EXPERIMENT, name, self.namespace)
            if is_set(document, "Succeeded", "Failed"):
                return document
            time.sleep(0.05)
        raise AssertionError(
            f"{name} has not ended within {self.seconds} s: {json.dumps(document.get('status'))}"
        )

    def reason(self, name: str) -> str:
        """Wait until the Experiment has succeeded, and return why."""
        document = self.finished(name)
        assert not condition(document, "Failed"), condition(document, "Failed")["message"]
        return condition(document, "Succeeded")["reason"]

    def trials(self, name: str) -> list[Trial]:
        """Return the trials of an Experiment in the order of their creation."""
        found = self.store.list(TRIAL, self.namespace, f"katib.kubeflow.org/experiment={name}")
        found.sort(key=lambda trial: (trial["metadata"]["creationTimestamp"], trial["metadata"]["name"]))
        return [_trial(trial) for trial in found]


PARAMETERS = [
    {"name": name, "parameterType": "double", "feasibleSpace": {"min": "-1", "max": "1"}}
    for name in ("x", "y")
]


def algorithm(name: str, **settings: object) -> dict[str, Any]:
    """Return `spec.algorithm`, or `spec.earlyStopping`."""
    return {
        "algorithmName": name,
        "algorithmSettings": [{"name": key, "value": str(value)} for key, value in settings.items()],
    }


@contextmanager
def cluster(namespace: str) -> Iterator[Katib]:
    """A cluster's Katib, in a namespace of its own; skips where none runs there."""
    from kubernetes import client, config

    from chandlery.resources.kubernetes import KubernetesStore

    file = os.environ[VARIABLE]
    with config.new_client_from_config(config_file=file) as connection:
        found = client.AppsV1Api(connection).list_deployment_for_all_namespaces(
            label_selector="katib.kubeflow.org/component=controller"
        )
        if not any(deployment.status.available_replicas for deployment in found.items):
            pytest.skip("the cluster runs no Katib controller (no available deployment of that component)")
        core = client.CoreV1Api(connection)
        labels = {"katib.kubeflow.org/metrics-collector-injection": "enabled"}
        core.create_namespace({"metadata": {"name": namespace, "labels": labels}})
        store = KubernetesStore(config_file=file)
        try:
            yield Katib(
                store, namespace, "python3", os.environ.get(IMAGE_VARIABLE, "python:3.11-slim"), 1200.0
            )
        finally:
            store.close()
            core.delete_namespace(namespace)


def embedded(store: ResourceStore) -> Katib:
    """The embedded controller, which runs beside the test."""
    return Katib(store, "default", shlex.quote(sys.executable), "none", 120.0)


def fresh_namespace() -> str:
    """Return a name that no earlier run has used."""
    return f"contract-{uuid.uuid4().hex[:8]}"


def _trial(document: dict[str, Any]) -> Trial:
    spec, status = document["spec"], document.get("status") or {}
    seen = status.get("observation") or {}
    return Trial(
        {a["name"]: a["value"] for a in spec["parameterAssignments"]},
        state_of(document),
        objective_value(seen, spec["objective"]),
        {m["name"]: float(m["latest"]) for m in seen.get("metrics") or () if m["latest"] != "unavailable"},
        list(spec.get("earlyStoppingRules") or ()),
    )
