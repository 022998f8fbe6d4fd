"""Fuzzing: run by name (`pytest tests/fuzz`), as many cases a target as CHANDLERY_FUZZ_CASES says.

A file is a target; its tests share its cases.

`make fuzz` takes the same cases each time, so that a gate that fails is the change's fault; another SEED draws others.
Without CHANDLERY_FUZZ_SEED a seed is drawn; it is in the header.
"""

from __future__ import annotations

import os
import secrets

import pytest

from .harness import CASES, SEED_VARIABLE


def pytest_configure(config: pytest.Config) -> None:
    # Before the workers of -n start, so that all have one seed.
    os.environ.setdefault(SEED_VARIABLE, str(secrets.randbelow(10**9)))


def pytest_report_header() -> str:
    return f"fuzz: {CASES} cases a target, {SEED_VARIABLE}={os.environ[SEED_VARIABLE]}"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.excinfo is not None:
        item.add_report_section("call", "seed", f"{SEED_VARIABLE}={os.environ[SEED_VARIABLE]}")


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith("CHANDLERY_") and not name.startswith("CHANDLERY_FUZZ"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
