"""Kubernetes settings of a component as they read on one machine: environment, deadline, share of the machine."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chandlery.embedded.pipelines.commands import filled
from chandlery.embedded.pipelines.execution import Parameters
from chandlery.embedded.pipelines.values import text_of
from chandlery.errors import UserError

Spec = Mapping[str, Any]

_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_QUANTITY = re.compile(r"\s*([0-9.]+)\s*(m|[kKMGTP]i?)?B?\s*")


class MissingReferenceError(UserError):
    """A task needs a key of a ConfigMap or a Secret that this machine does not have."""


@dataclass(frozen=True)
class Share:
    """What a task needs of the machine.

    Attributes:
        cpus: cores.
        memory: bytes.
    """

    cpus: float = 1.0
    memory: float = 0.0


def share(container: Spec) -> Share:
    """Return a container's requests: a core, and no memory of its own, where it states none."""
    resources = container.get("resources", {})
    cpus = _quantity(resources.get("resourceCpuRequest") or resources.get("cpuRequest"))
    if resources.get("resourceMemoryRequest"):
        memory = _quantity(resources["resourceMemoryRequest"])
    else:
        memory = _quantity(resources.get("memoryRequest")) * 10**9  # the older field counts in GB
    return Share(cpus or 1.0, memory)


def deadline(kubernetes: Spec) -> float | None:
    """Return after how many seconds a task is ended; None for no limit."""
    seconds = float(kubernetes.get("activeDeadlineSeconds") or 0)
    return seconds or None


def environment(
    container: Spec,
    kubernetes: Spec,
    parameters: Parameters,
    known: Mapping[str, str],
    names: Mapping[str, str],
) -> dict[str, str]:
    """Return the environment of a task.

    A ConfigMap and a Secret are on one machine what the environment holds: a key of theirs has the value of the
    variable that it would be put into. Where a reference is optional, a missing one is left out, as in a pod.

    Args:
        container: its `env`.
        kubernetes: its references to fields, ConfigMaps and Secrets.
        parameters: the task's inputs, which may name a ConfigMap or a Secret.
        known: texts by placeholder.
        names: fields of the pod by path: `metadata.name`, `metadata.labels['pipeline/runid']`.

    Raises:
        MissingReferenceError: a reference that is not optional has no value here.
    """
    found = dict(os.environ)
    for entry in container.get("env", []):
        found[entry["name"]] = filled(str(entry.get("value", "")), known)
    for entry in kubernetes.get("fieldPathAsEnv", []):
        if entry.get("fieldPath") in names:
            found[entry["name"]] = names[entry["fieldPath"]]
    for kind, section, key in (
        ("ConfigMap", "configMapAsEnv", "configMapKey"),
        ("Secret", "secretAsEnv", "secretKey"),
    ):
        for entry in kubernetes.get(section, []):
            lower = kind[0].lower() + kind[1:]
            name = _reference(entry, lower, parameters)
            for pair in entry.get("keyToEnv", []):
                variable = pair["envVar"]
                if variable not in found and not entry.get("optional"):
                    raise MissingReferenceError(
                        f"{kind} {name} has no key {pair.get(key)} on this machine",
                        f"set {variable} in the environment of the run",
                    )
    return found


def _reference(entry: Spec, kind: str, parameters: Parameters) -> str:
    source = entry.get(f"{kind}NameParameter", {})
    named = source.get("componentInputParameter")
    return (
        text_of(parameters.get(named)) if named else str(entry.get(f"{kind}Name") or "")
    ) or "(named by an input)"


def _quantity(value: Any) -> float:
    """Return a quantity of Kubernetes as a number; 0 for none and for one that is not known before the run."""
    match = _QUANTITY.fullmatch(str(value)) if value is not None else None
    if not match:
        return 0.0
    unit = match[2] or ""
    factor = 0.001 if unit == "m" else _BINARY.get(unit) or _UNITS.get(unit, 1)
    return float(match[1]) * factor
