"""A file in the user's folder never takes the place of a module that a service imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chandlery.processes import PYTHON

MODULES = ("chandlery.embedded.gateway", "chandlery.embedded.mlflow.server")


def start(python: tuple[str, ...], module: str, folder: Path) -> int:
    return subprocess.run(
        [*python, module, "--help"], cwd=folder, capture_output=True, check=False
    ).returncode


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("shadowed", ["argparse", "json", "uuid"])
def test_a_shadowing_file_is_not_imported(tmp_path: Path, module: str, shadowed: str) -> None:
    (tmp_path / f"{shadowed}.py").write_text("raise SystemExit(9)\n")
    assert start(PYTHON, module, tmp_path) == 0


def test_without_isolation_it_would_be(tmp_path: Path) -> None:
    (tmp_path / "argparse.py").write_text("raise SystemExit(9)\n")
    assert start((sys.executable, "-m"), MODULES[0], tmp_path) == 9
