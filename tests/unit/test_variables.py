"""Every variable that the code reads is in the table of the docs, with the default that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import chandlery
from chandlery import addresses, variables
from chandlery.inference.settings import from_environment

PACKAGE = Path(chandlery.__file__).parent
NAMES = {variable.name for variable in variables.VARIABLES}


def test_every_variable_of_the_code_is_in_the_table() -> None:
    # The names of two ports are put together from a service's name.
    used = {"CHANDLERY_MLFLOW_PORT", "CHANDLERY_GATEWAY_PORT", "MLFLOW_TRACKING_URI"}
    for path in PACKAGE.rglob("*.py"):
        if path.name != "variables.py":
            used |= set(re.findall(r"\bCHANDLERY_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
    assert used == NAMES | set(variables.INTERNAL)


def test_every_endpoint_is_in_the_table() -> None:
    assert set(addresses.VARIABLES.values()) <= NAMES


def test_the_defaults_of_the_server_are_those_of_the_table() -> None:
    numbers = {v.name: v.default for v in variables.VARIABLES if v.name.startswith("CHANDLERY_MAX_")}
    numbers |= {v.name: v.default for v in variables.VARIABLES if v.name.endswith("_SECONDS")}
    assert len(numbers) == 11
    model = {"MODEL_URI": "folder"}
    assert from_environment(model | numbers) == from_environment(model)
